"""A web application with the asynchronous saver: ``uvicorn docs.examples.fastapi_app:app``.

No answer waits for a trim: they are done in a task beside the requests, and when the application
shuts down, the last of them are finished. A Redis is expected at ``REDIS_URL``.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

from redis_retention import Policy
from redis_retention.langgraph import AsyncRetentionRedisSaver


async def answer(state: MessagesState) -> dict[str, list[AIMessage]]:
    """Answer without a model, so that no key is needed."""
    asked = sum(message.type == "human" for message in state["messages"])
    return {"messages": [AIMessage(f"You have asked {asked} times.")]}


builder = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Have one saver for all requests."""
    url = os.environ.get("REDIS_URL", "redis://localhost:6379")
    async with AsyncRetentionRedisSaver.from_conn_string(
        url, retention=Policy(keep_last=10), trigger=30
    ) as saver:
        app.state.graph = builder.compile(checkpointer=saver)
        app.state.saver = saver
        yield


app = FastAPI(lifespan=lifespan)


def the_graph(request: Request) -> Any:
    """The graph of this application."""
    return request.app.state.graph


@app.post("/chat/{thread_id}")
async def chat(
    thread_id: str, message: str, graph: Annotated[Any, Depends(the_graph)]
) -> dict[str, str]:
    """Say something in a thread."""
    config = {"configurable": {"thread_id": thread_id}}
    state = await graph.ainvoke({"messages": [message]}, config)
    return {"answer": state["messages"][-1].content}


@app.delete("/chat/{thread_id}")
async def forget(thread_id: str, request: Request) -> None:
    """Delete a thread entirely."""
    await request.app.state.saver.adelete_thread(thread_id)
