"""Small graphs for what is done to runs and threads."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langgraph.channels import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.graphs.scenarios import Graph, Saver, extend


class Lines(TypedDict, total=False):
    lines: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=3)]


def delta_graph(saver: Saver) -> Graph:
    """Three nodes that write to a delta channel: four updates a run, a snapshot at each third."""

    def speaks(name: str) -> Any:
        def node(state: Lines) -> Lines:
            return {"lines": [f"{name} has read {len(state['lines'])} lines"]}

        return node

    names = ["a", "b", "c"]
    graph = StateGraph(Lines).add_sequence([(name, speaks(name)) for name in names])
    graph.add_edge(START, "a")
    return graph.compile(checkpointer=saver)


class Answers(TypedDict, total=False):
    answers: Annotated[list[str], operator.add]


def asking_graph(saver: Saver) -> Graph:
    """A subgraph asks, and notes the answer."""

    def before(state: Answers) -> Answers:
        return {"answers": ["before"]}

    def ask(state: Answers) -> Answers:
        return {"answers": [interrupt("which?")]}

    inner = StateGraph(Answers).add_sequence([before, ask])
    inner.add_edge(START, "before")
    outer = StateGraph(Answers)
    outer.add_node("inner", inner.compile())
    outer.add_edge(START, "inner")
    return outer.compile(checkpointer=saver)
