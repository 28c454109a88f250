"""A graph that asks a human, trimmed while it waits: ``python docs/examples/human_in_the_loop.py``.

Whatever is trimmed, the question, the answer and the steps that are done stay. A Redis is expected
at ``REDIS_URL``.
"""

import operator
import os
from typing import Annotated, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from redis_retention import Policy
from redis_retention.langgraph import RetentionRedisSaver

URL = os.environ.get("REDIS_URL", "redis://localhost:6379")
THREAD = "example-refund"


class Refund(TypedDict):
    """A refund that somebody has to approve."""

    amount: int
    log: Annotated[list[str], operator.add]


def prepare(state: Refund) -> dict[str, list[str]]:
    """Do what needs no approval; it must not be done twice."""
    return {"log": [f"prepared {state['amount']}"]}


def approve(state: Refund) -> dict[str, list[str]]:
    """Stop until somebody has answered."""
    answer = interrupt(f"Refund {state['amount']}?")
    return {"log": [f"{state['amount']} approved: {answer}"]}


builder = StateGraph(Refund).add_sequence([prepare, approve]).add_edge(START, "prepare")
config = {"configurable": {"thread_id": THREAD}}

# mode="inline" trims within the put, for functions that may be frozen when they have answered.
with RetentionRedisSaver.from_conn_string(
    URL, retention=Policy(keep_last=2), trigger=4, mode="inline"
) as saver:
    saver.setup()
    graph = builder.compile(checkpointer=saver)
    for amount in (10, 20, 30):
        state = graph.invoke({"amount": amount}, config)
        print("Asked:", state["__interrupt__"][0].value)
        # Here days may pass, and the application may be restarted.
        state = graph.invoke(Command(resume="yes"), config)
    print("Log:", "; ".join(state["log"]))
    print("Checkpoints deleted:", saver.trims.checkpoints)
    saver.delete_thread(THREAD)
