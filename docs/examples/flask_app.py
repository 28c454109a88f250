"""A web application with the HTTP API below a path: ``flask --app docs/examples/flask_app run``.

Operators trim, pin and look below ``/ops/retention``, and send a token for it; everybody else talks
to the chat. A Redis is expected at ``REDIS_URL``, and the token in ``RETENTION_TOKEN``.
"""

import os
from typing import Any

from flask import Flask, request
from langchain_core.messages import AIMessage
from langgraph.checkpoint.redis import RedisSaver
from langgraph.graph import START, MessagesState, StateGraph
from redis import Redis

from redis_retention import Policy
from redis_retention.http import retention_blueprint


def answer(state: MessagesState) -> dict[str, list[AIMessage]]:
    """Answer without a model, so that no key is needed."""
    asked = sum(message.type == "human" for message in state["messages"])
    return {"messages": [AIMessage(f"You have asked {asked} times.")]}


client = Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379"))
saver = RedisSaver(redis_client=client)
saver.setup()
builder = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")
graph: Any = builder.compile(checkpointer=saver)

app = Flask(__name__)
app.register_blueprint(
    retention_blueprint(
        client,
        Policy(keep_last=10),
        url_prefix="/ops/retention",
        token=os.environ["RETENTION_TOKEN"],
    )
)


@app.post("/chat/<thread_id>")
def chat(thread_id: str) -> dict[str, str]:
    """Say something in a thread."""
    config = {"configurable": {"thread_id": thread_id}}
    state = graph.invoke({"messages": [request.form["message"]]}, config)
    return {"answer": state["messages"][-1].content}
