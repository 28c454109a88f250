"""A chat that keeps itself short: ``python docs/examples/chat.py``, with a Redis at ``REDIS_URL``.

The model is a fake one, so that no key is needed.
"""

import os

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

from redis_retention import Policy
from redis_retention.langgraph import RetentionRedisSaver

URL = os.environ.get("REDIS_URL", "redis://localhost:6379")
TURNS = 20

answers = [f"That was question {turn}." for turn in range(1, TURNS)]
model = GenericFakeChatModel(messages=iter(map(AIMessage, [*answers, "Your name is Ada."])))


def answer(state: MessagesState) -> dict[str, list[AIMessage]]:
    """Let the model answer the conversation so far."""
    return {"messages": [model.invoke(state["messages"])]}


builder = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")
config = {"configurable": {"thread_id": "example-chat"}}

with RetentionRedisSaver.from_conn_string(URL, retention=Policy(keep_last=10), trigger=30) as saver:
    saver.setup()
    graph = builder.compile(checkpointer=saver)
    for turn in range(1, TURNS + 1):
        question = "I am Ada. Hello!" if turn == 1 else f"Question {turn}: what is my name?"
        state = graph.invoke({"messages": [question]}, config)
    print("Asked:", state["messages"][-2].content)
    print("Answered:", state["messages"][-1].content)
    print("Messages:", len(state["messages"]))

# The context has finished the trims that were still to be done.
with RetentionRedisSaver.from_conn_string(URL) as saver:
    kept = sum(1 for _ in saver.list(config))
    print(f"Checkpoints: {kept} of {3 * TURNS} that were written")
    saver.delete_thread("example-chat")
