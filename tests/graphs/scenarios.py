"""Real LangGraph graphs, one per way in which LangGraph leans on old checkpoints.

Each `Scenario` builds a graph and plays a script on it: a list of invokes, resumes and state
updates. After each of them it calls `between`, where a test trims the thread, and then notes an
`Observation`. Nothing in an observation depends on ids or on the clock, so two runs of the same
scenario must be equal, whether trimmed or not::

    scenario = Chat(turns=12)
    graph = scenario.build(saver)
    seen = scenario.run(graph, {"configurable": {"thread_id": "a"}}, between=trim_it)

There is no model and no network. Use the savers of `savers.py`: with the plain ones some runs
differ by chance. `ran` in an observation lists what the nodes did during that step. A task that
LangGraph took for unfinished although it was done shows up there twice.
"""

from __future__ import annotations

import operator
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.types import Command, Durability, Send, StateSnapshot, interrupt
from typing_extensions import TypedDict

Saver: TypeAlias = "BaseCheckpointSaver[Any]"
Graph: TypeAlias = "Pregel[Any, Any, Any, Any]"
Builder: TypeAlias = "StateGraph[Any, Any, Any, Any]"
Subgraph: TypeAlias = "CompiledStateGraph[Any, Any, Any, Any]"
Node: TypeAlias = Any
"""A node function; LangGraph's own type for it does not take one from a closure."""


# With "exit" a run keeps only its last checkpoint: there is nothing within a run to go back to.
WITHIN_RUNS: tuple[Durability, ...] = ("sync", "async")


class ToolDown(Exception):
    """The one failure that a script expects."""


# --- what a run leaves to compare ---------------------------------------------------------------


@dataclass(frozen=True)
class Observation:
    """What is to be seen after one step of a script, free of ids and times."""

    step: str
    values: Any
    next: tuple[str, ...]
    interrupts: tuple[Any, ...]
    inner: tuple[tuple[str, Any, tuple[str, ...]], ...]
    """Path, values and next nodes of each subgraph that has not finished."""
    ran: tuple[str, ...]
    """What nodes did in this step, sorted, since parallel ones finish in any order."""
    error: str | None


_log: ContextVar[list[str]] = ContextVar("_log")


def ran(what: str) -> None:
    """Note in the run's log that a node has got this far."""
    _log.get().append(what)


@contextmanager
def _new_log() -> Iterator[list[str]]:
    log: list[str] = []
    token = _log.set(log)
    try:
        yield log
    finally:
        _log.reset(token)


def _plain(value: Any) -> Any:
    """The value with messages as (type, content), whose ids LangGraph may have made up."""
    if isinstance(value, BaseMessage):
        return (value.type, value.content)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _inner(snapshot: StateSnapshot, path: str = "") -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    for pending in snapshot.tasks:
        if isinstance(pending.state, StateSnapshot):
            here = f"{path}/{pending.name}"
            yield here, _plain(pending.state.values), tuple(sorted(pending.state.next))
            yield from _inner(pending.state, here)


# --- what a script is made of -------------------------------------------------------------------


@dataclass(frozen=True)
class Invoke:
    """Run the graph: with an input, a `Command`, or None to go on where it stopped."""

    label: str
    input: Any
    at: RunnableConfig | None = None
    """The old checkpoint to start from, instead of the newest."""

    def do(self, graph: Graph, config: RunnableConfig, durability: Durability) -> None:
        graph.invoke(self.input, config, durability=durability)

    async def ado(self, graph: Graph, config: RunnableConfig, durability: Durability) -> None:
        await graph.ainvoke(self.input, config, durability=durability)


@dataclass(frozen=True)
class Update:
    """Write to the state from outside, as if `as_node` had returned `values`."""

    label: str
    values: Any
    as_node: str | None = None
    at: RunnableConfig | None = None

    def do(self, graph: Graph, config: RunnableConfig, durability: Durability) -> None:
        graph.update_state(config, self.values, as_node=self.as_node)

    async def ado(self, graph: Graph, config: RunnableConfig, durability: Durability) -> None:
        await graph.aupdate_state(config, self.values, as_node=self.as_node)


Script: TypeAlias = Generator[Invoke | Update, StateSnapshot, None]
"""Yields steps. Each is answered with the newest state after it, as `get_state` gives it."""


def parent(snapshot: StateSnapshot) -> RunnableConfig:
    """The config of the checkpoint that this state's superstep started from."""
    assert snapshot.parent_config is not None
    return snapshot.parent_config


def answer(snapshot: StateSnapshot, question: Any, reply: Any) -> Command[Any]:
    """The command that answers the interrupt with this value, and leaves all others pending."""
    ids = [pending.id for pending in snapshot.interrupts if pending.value == question]
    return Command(resume={ids[0]: reply})


class Scenario(ABC):
    """A graph and a script. A subclass says what they prove."""

    goes_back: ClassVar[int] = 1
    """How many of the newest root checkpoints the script addresses: the least to keep."""
    needs_search: ClassVar[bool] = False
    """Whether LangGraph calls the saver's `list` here, which needs RediSearch."""
    durabilities: ClassVar[tuple[Durability, ...]] = ("sync", "async", "exit")
    """With which of them the script makes sense."""
    uses_context: ClassVar[bool] = False
    """Whether a node calls `interrupt`, a task or a graph, which finds its run by context."""
    max_concurrency: ClassVar[int | None] = None

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def can_arun(self) -> bool:
        """Whether `arun` works here: before Python 3.11, asyncio does not hand on the context."""
        return sys.version_info >= (3, 11) or not self.uses_context

    @abstractmethod
    def build(self, saver: Saver) -> Graph:
        """Compile the graph with this saver."""

    @abstractmethod
    def script(self) -> Script:
        """The steps to play."""

    def run(
        self,
        graph: Graph,
        config: RunnableConfig,
        between: Callable[[], None] = lambda: None,
        durability: Durability = "sync",
    ) -> list[Observation]:
        """Play the script, with `between` after every step."""
        config = self._settings(config)
        with _new_log() as log:
            play = _Play(self.script(), log)
            for step in play:
                try:
                    step.do(graph, _addressed(config, step.at), durability)
                except ToolDown as error:
                    play.error = str(error)
                between()
                play.observe(graph.get_state(config, subgraphs=True))
        return play.seen

    async def arun(
        self,
        graph: Graph,
        config: RunnableConfig,
        between: Callable[[], None] = lambda: None,
        durability: Durability = "sync",
    ) -> list[Observation]:
        """Play the script with LangGraph's async methods."""
        config = self._settings(config)
        with _new_log() as log:
            play = _Play(self.script(), log)
            for step in play:
                try:
                    await step.ado(graph, _addressed(config, step.at), durability)
                except ToolDown as error:
                    play.error = str(error)
                between()
                play.observe(await graph.aget_state(config, subgraphs=True))
        return play.seen

    def _settings(self, config: RunnableConfig) -> RunnableConfig:
        if self.max_concurrency is None:
            return config
        return {**config, "max_concurrency": self.max_concurrency}


class _Play:
    """A script being played: gives its steps, and takes what was seen after each."""

    def __init__(self, script: Script, log: list[str]) -> None:
        self.seen: list[Observation] = []
        self.error: str | None = None
        self._script = script
        self._log = log
        self._logged = 0
        self._step: Invoke | Update
        self._snapshot: StateSnapshot | None = None

    def __iter__(self) -> Iterator[Invoke | Update]:
        try:
            self._step = next(self._script)
            while True:
                yield self._step
                assert self._snapshot is not None
                self._step = self._script.send(self._snapshot)
        except StopIteration:
            return

    def observe(self, snapshot: StateSnapshot) -> None:
        observation = Observation(
            step=self._step.label,
            values=_plain(snapshot.values),
            next=tuple(sorted(snapshot.next)),
            interrupts=tuple(sorted((i.value for i in snapshot.interrupts), key=repr)),
            inner=tuple(sorted(_inner(snapshot), key=repr)),
            ran=tuple(sorted(self._log[self._logged :])),
            error=self.error,
        )
        self.seen.append(observation)
        self._snapshot, self._logged, self.error = snapshot, len(self._log), None


def _addressed(config: RunnableConfig, at: RunnableConfig | None) -> RunnableConfig:
    if at is None:
        return config
    return {**config, "configurable": {**config["configurable"], **at["configurable"]}}


# --- states -------------------------------------------------------------------------------------

Lines: TypeAlias = Annotated[list[str], operator.add]


class LinesState(TypedDict, total=False):
    lines: Lines


class ParentState(LinesState, total=False):
    """A graph with subgraphs: each gets the lines, and gives back a report."""

    reports: Lines


class Request(TypedDict, total=False):
    lines: list[str]


class Report(TypedDict, total=False):
    reports: list[str]


class SubState(Request, Report, total=False):
    memory: Lines


def say(*lines: str) -> dict[str, list[str]]:
    """An update of `lines`."""
    return {"lines": list(lines)}


# --- chats and interrupts -----------------------------------------------------------------------


@dataclass(frozen=True)
class Chat(Scenario):
    """A plain conversation. Three checkpoints a turn: input, start, answer."""

    turns: int = 12

    def build(self, saver: Saver) -> Graph:
        def model(state: MessagesState) -> dict[str, Any]:
            question = state["messages"][-1]
            ran(f"model {question.content}")
            reply = f"answer to {question.content}, message {len(state['messages'])}"
            return {"messages": [AIMessage(reply, id=f"{question.id}-answer")]}

        graph = StateGraph(MessagesState)
        graph.add_node(model)
        graph.add_edge(START, "model")
        graph.add_edge("model", END)
        return graph.compile(checkpointer=saver)

    def script(self) -> Script:
        for turn in range(self.turns):
            question = HumanMessage(f"question {turn}", id=f"q{turn}")
            yield Invoke(f"turn {turn}", {"messages": [question]})


@dataclass(frozen=True)
class HumanInTheLoop(Scenario):
    """A node that asks twice. Its first answer is kept as a write while the second is pending."""

    uses_context: ClassVar[bool] = True
    turns: int = 3

    def build(self, saver: Saver) -> Graph:
        def plan(state: LinesState) -> LinesState:
            ran("plan")
            return {"lines": ["planned"]}

        def approve(state: LinesState) -> LinesState:
            ran("approve begins")
            who = interrupt("who?")
            when = interrupt("when?")
            ran("approve ends")
            return {"lines": [f"{who} at {when}"]}

        def act(state: LinesState) -> LinesState:
            ran("act")
            return {"lines": [f"acted on {len(state['lines'])} lines"]}

        graph = StateGraph(LinesState).add_sequence([plan, approve, act])
        graph.add_edge(START, "plan")
        return graph.compile(checkpointer=saver)

    def script(self) -> Script:
        for turn in range(self.turns):
            yield Invoke(f"ask {turn}", say(f"turn {turn}"))
            yield Invoke(f"who {turn}", Command(resume="Ann"))
            yield Invoke(f"when {turn}", Command(resume=f"{turn} o'clock"))


@dataclass(frozen=True)
class Breakpoint(Scenario):
    """A static breakpoint: the run stops between two supersteps, and no write tells of it."""

    turns: int = 3

    def build(self, saver: Saver) -> Graph:
        def plan(state: LinesState) -> LinesState:
            ran("plan")
            return {"lines": ["planned"]}

        def act(state: LinesState) -> LinesState:
            ran("act")
            return {"lines": [f"acted on {len(state['lines'])} lines"]}

        graph = StateGraph(LinesState).add_sequence([plan, act])
        graph.add_edge(START, "plan")
        return graph.compile(checkpointer=saver, interrupt_before=["act"])

    def script(self) -> Script:
        for turn in range(self.turns):
            yield Invoke(f"plan {turn}", say(f"turn {turn}"))
            yield Invoke(f"act {turn}", None)


@dataclass(frozen=True)
class ParallelTools(Scenario):
    """Parallel tool calls that each ask, answered one by one while the others wait.

    They all belong to one superstep, so the done ones live on as writes of one checkpoint.
    """

    uses_context: ClassVar[bool] = True
    tools: tuple[str, ...] = ("book", "pay", "search")

    def build(self, saver: Saver) -> Graph:
        def make(name: str) -> Node:
            def tool(state: LinesState) -> LinesState:
                reply = interrupt(f"{name}?")
                ran(name)
                return {"lines": [f"{name}: {reply}"]}

            return tool

        def model(state: LinesState) -> LinesState:
            ran("model")
            return {"lines": [f"{len(state['lines'])} lines"]}

        graph = StateGraph(LinesState)
        graph.add_node(model)
        for name in self.tools:
            graph.add_node(name, make(name))
            graph.add_edge(START, name)
        graph.add_edge(list(self.tools), "model")
        return graph.compile(checkpointer=saver)

    def script(self) -> Script:
        for turn in range(2):
            now = yield Invoke(f"ask {turn}", say(f"turn {turn}"))
            # Not in the order of the tasks.
            for name in reversed(self.tools):
                now = yield Invoke(f"{name} {turn}", answer(now, f"{name}?", f"yes {turn}"))


class WorkState(TypedDict):
    item: int


@dataclass(frozen=True)
class MapReduce(Scenario):
    """`Send` to many tasks, some of which ask while the others are done already."""

    uses_context: ClassVar[bool] = True
    items: int = 5

    def build(self, saver: Saver) -> Graph:
        def split(state: LinesState) -> LinesState:
            ran("split")
            return {"lines": ["split"]}

        def fan_out(state: LinesState) -> list[Send]:
            return [Send("work", WorkState(item=item)) for item in range(self.items)]

        def work(state: WorkState) -> LinesState:
            item = state["item"]
            reply = interrupt(f"item {item}?") if item % 2 else "no need to ask"
            ran(f"work {item}")
            return {"lines": [f"item {item}: {reply}"]}

        def reduce(state: LinesState) -> LinesState:
            ran("reduce")
            return {"lines": [f"reduced {len(state['lines'])} lines"]}

        graph = StateGraph(LinesState)
        graph.add_node(split)
        graph.add_node("work", work, input_schema=WorkState)
        graph.add_node(reduce)
        graph.add_edge(START, "split")
        graph.add_conditional_edges("split", fan_out, ["work"])
        graph.add_edge("work", "reduce")
        return graph.compile(checkpointer=saver)

    def script(self) -> Script:
        for turn in range(2):
            now = yield Invoke(f"turn {turn}", say(f"turn {turn}"))
            for item in range(1, self.items, 2):
                now = yield Invoke(f"item {item}", answer(now, f"item {item}?", f"ok {turn}"))


@dataclass(frozen=True)
class FailedStep(Scenario):
    """One of three parallel nodes fails. Invoked again with None, only that one runs again."""

    # One after the other by name, so that the others are surely done when the last one fails.
    max_concurrency: ClassVar[int | None] = 1

    def build(self, saver: Saver) -> Graph:
        def make(name: str) -> Node:
            def node(state: LinesState) -> LinesState:
                ran(name)
                return {"lines": [name]}

            return node

        def shaky(state: LinesState) -> LinesState:
            turn = state["lines"][-1]
            failure = f"shaky fails in {turn}"
            if failure not in _log.get():
                ran(failure)
                raise ToolDown(failure)
            ran("shaky")
            return {"lines": ["shaky"]}

        graph = StateGraph(LinesState)
        for name in ("first", "second"):
            graph.add_node(name, make(name))
            graph.add_edge(START, name)
        graph.add_node(shaky)
        graph.add_edge(START, "shaky")
        graph.add_node("join", make("join"))
        graph.add_edge(["first", "second", "shaky"], "join")
        return graph.compile(checkpointer=saver)

    def script(self) -> Script:
        for turn in range(2):
            yield Invoke(f"fails {turn}", say(f"turn {turn}"))
            yield Invoke(f"again {turn}", None)


# --- subgraphs ----------------------------------------------------------------------------------


def _subgraph(state: type[Any] = SubState) -> Builder:
    return StateGraph(state, input_schema=Request, output_schema=Report)


def _with_subgraphs(**subgraphs: Subgraph) -> Builder:
    """A graph that calls all of these at once, each under its name."""
    graph = StateGraph(ParentState)
    for name, subgraph in subgraphs.items():
        graph.add_node(name, subgraph)
        graph.add_edge(START, name)
    return graph


@dataclass(frozen=True)
class NestedSubgraphs(Scenario):
    """A subgraph in a subgraph, and the inner one asks: three namespaces wait for one answer."""

    uses_context: ClassVar[bool] = True
    turns: int = 3

    def build(self, saver: Saver) -> Graph:
        def ask(state: SubState) -> Report:
            reply = interrupt("inner?")
            ran("ask")
            return {"reports": [f"inner says {reply}"]}

        def make(name: str) -> Node:
            def node(state: SubState) -> SubState:
                ran(name)
                return {"memory": [name]}

            return node

        def subgraph(name: str, node: Any) -> Subgraph:
            graph = _subgraph()
            graph.add_node(f"before_{name}", make(f"before_{name}"))
            graph.add_node(name, node)
            graph.add_node(f"after_{name}", make(f"after_{name}"))
            graph.add_edge(START, f"before_{name}")
            graph.add_edge(f"before_{name}", name)
            graph.add_edge(name, f"after_{name}")
            return graph.compile()

        inner = subgraph("ask", ask)
        middle = subgraph("inner", inner)
        return _with_subgraphs(middle=middle).compile(checkpointer=saver)

    def script(self) -> Script:
        for turn in range(self.turns):
            yield Invoke(f"ask {turn}", say(f"turn {turn}"))
            yield Invoke(f"answer {turn}", Command(resume=f"yes {turn}"))


def _research() -> Subgraph:
    """A subgraph of two nodes that remembers nothing."""

    def look(state: SubState) -> SubState:
        ran("look")
        return {"memory": [f"saw {len(state['lines'])} lines"]}

    def report(state: SubState) -> Report:
        ran("report")
        return {"reports": state["memory"]}

    graph = _subgraph().add_sequence([look, report])
    graph.add_edge(START, "look")
    return graph.compile()


@dataclass(frozen=True)
class ManySubgraphs(Scenario):
    """A subgraph that runs to its end every turn: each time a namespace that nobody reads again."""

    calls: int = 12

    def build(self, saver: Saver) -> Graph:
        return _with_subgraphs(research=_research()).compile(checkpointer=saver)

    def script(self) -> Script:
        for call in range(self.calls):
            yield Invoke(f"call {call}", say(f"call {call}"))


@dataclass(frozen=True)
class SubgraphCalledTwice(Scenario):
    """A node that calls a subgraph twice by hand: the second namespace gets a number."""

    # With "exit" the first subgraph's end is not stored, and it would ask for ever.
    durabilities: ClassVar[tuple[Durability, ...]] = WITHIN_RUNS
    uses_context: ClassVar[bool] = True

    def build(self, saver: Saver) -> Graph:
        def ask(state: SubState) -> Report:
            question = f"{state['lines'][-1]}?"
            reply = interrupt(question)
            ran(f"ask {question}")
            return {"reports": [f"{question} {reply}"]}

        inner = _subgraph().add_sequence([ask])
        inner.add_edge(START, "ask")
        subgraph = inner.compile()

        def node(state: ParentState) -> Report:
            first = subgraph.invoke(say("first"))
            second = subgraph.invoke(say("second"))
            ran("node")
            return {"reports": first["reports"] + second["reports"]}

        graph = StateGraph(ParentState).add_sequence([node])
        graph.add_edge(START, "node")
        return graph.compile(checkpointer=saver)

    def script(self) -> Script:
        for turn in range(2):
            yield Invoke(f"ask {turn}", say(f"turn {turn}"))
            yield Invoke(f"first {turn}", Command(resume=f"one {turn}"))
            yield Invoke(f"second {turn}", Command(resume=f"two {turn}"))


def _remembering(asks: bool = False) -> Subgraph:
    """A subgraph with memory of its own, called once a turn; every third time it may ask."""

    def recall(state: SubState) -> Report:
        count = len(state.get("memory", []))
        ran(f"recall {count}")
        return {"reports": [f"remembers {count} things"]}

    def keep(state: SubState) -> SubState:
        count = len(state.get("memory", []))
        reply = interrupt(f"keep {count}?") if asks and count % 3 == 2 else "unasked"
        ran(f"keep {count}")
        return {"memory": [f"{state['lines'][-1]}, {reply}"]}

    graph = _subgraph().add_sequence([recall, keep])
    graph.add_edge(START, "recall")
    return graph.compile(checkpointer=True)


@dataclass(frozen=True)
class StatefulSubgraph(Scenario):
    """`checkpointer=True`: one namespace over all turns, which is read again every turn."""

    uses_context: ClassVar[bool] = True
    turns: int = 7

    def build(self, saver: Saver) -> Graph:
        return _with_subgraphs(memory=_remembering(asks=True)).compile(checkpointer=saver)

    def script(self) -> Script:
        for turn in range(self.turns):
            now = yield Invoke(f"turn {turn}", say(f"turn {turn}"))
            if now.interrupts:
                yield Invoke(f"answer {turn}", Command(resume=f"kept in turn {turn}"))


@dataclass(frozen=True)
class StatefulInsideStateless(Scenario):
    """A stateful subgraph inside one that is not: its namespace loses all the task ids above."""

    uses_context: ClassVar[bool] = True
    turns: int = 7

    def build(self, saver: Saver) -> Graph:
        outer = _subgraph()
        outer.add_node("deep", _remembering(asks=True))
        outer.add_edge(START, "deep")
        return _with_subgraphs(outer=outer.compile()).compile(checkpointer=saver)

    def script(self) -> Script:
        for turn in range(self.turns):
            now = yield Invoke(f"turn {turn}", say(f"turn {turn}"))
            if now.interrupts:
                yield Invoke(f"answer {turn}", Command(resume=f"kept in turn {turn}"))


# --- going back ---------------------------------------------------------------------------------


def _question_and_answer(saver: Saver) -> Graph:
    def think(state: LinesState) -> LinesState:
        ran("think")
        return {"lines": [f"thought of {len(state['lines'])} lines"]}

    def reply(state: LinesState) -> LinesState:
        ran("reply")
        return {"lines": [f"reply to {state['lines'][-1]}"]}

    graph = StateGraph(LinesState).add_sequence([think, reply])
    graph.add_edge(START, "think")
    return graph.compile(checkpointer=saver)


@dataclass(frozen=True)
class Replay(Scenario):
    """Run again from the checkpoint before the last node ("regenerate")."""

    goes_back: ClassVar[int] = 2
    durabilities: ClassVar[tuple[Durability, ...]] = WITHIN_RUNS

    def build(self, saver: Saver) -> Graph:
        return _question_and_answer(saver)

    def script(self) -> Script:
        yield Invoke("turn 0", say("zero"))
        now = yield Invoke("turn 1", say("one"))
        yield Invoke("regenerate", None, at=parent(now))
        now = yield Invoke("turn 2", say("two"))
        now = yield Invoke("regenerate again", None, at=parent(now))
        yield Invoke("and once more", None, at=parent(now))
        yield Invoke("turn 3", say("three"))


@dataclass(frozen=True)
class Fork(Scenario):
    """Branch off from the end of an earlier turn, and edit a question that was answered."""

    goes_back: ClassVar[int] = 5
    durabilities: ClassVar[tuple[Durability, ...]] = WITHIN_RUNS

    def build(self, saver: Saver) -> Graph:
        return _question_and_answer(saver)

    def script(self) -> Script:
        yield Invoke("turn 0", say("zero"))
        earlier = yield Invoke("turn 1", say("one"))
        yield Invoke("turn 2", say("two"))
        yield Invoke("branch", say("instead of two"), at=earlier.config)
        now = yield Invoke("turn 3 of the branch", say("three"))
        yield Update("edit", say("edited"), as_node="think", at=parent(now))
        now = yield Invoke("go on", None)
        yield Update("copy", None, as_node="__copy__", at=now.config)
        yield Invoke("last turn", say("four"))


@dataclass(frozen=True)
class ReplaySubgraph(Scenario):
    """Replay a root checkpoint with a stateful and a stateless subgraph below it.

    LangGraph looks for the subgraph's checkpoint *before* the replayed one with `list`.
    """

    goes_back: ClassVar[int] = 2
    durabilities: ClassVar[tuple[Durability, ...]] = WITHIN_RUNS
    needs_search: ClassVar[bool] = True

    def build(self, saver: Saver) -> Graph:
        graph = _with_subgraphs(memory=_remembering(), research=_research())
        return graph.compile(checkpointer=saver)

    def script(self) -> Script:
        for turn in range(3):
            yield Invoke(f"turn {turn}", say(f"turn {turn}"))
        now = yield Invoke("turn 3", say("turn 3"))
        yield Invoke("replay", None, at=parent(now))
        yield Invoke("turn 4", say("turn 4"))


@dataclass(frozen=True)
class EditState(Scenario):
    """`update_state` between the turns: as a node, as input, and to cancel what is due."""

    def build(self, saver: Saver) -> Graph:
        return _question_and_answer(saver)

    def script(self) -> Script:
        yield Update("before the first turn", say("system"), as_node="reply")
        yield Invoke("turn 0", say("zero"))
        yield Update("as think", say("a better thought"), as_node="think")
        yield Invoke("so reply runs", None)
        yield Update("as input", say("typed in"), as_node=START)
        yield Update("nothing due", None, as_node=END)
        yield Invoke("turn 1", say("one"))
        yield Update("as the last node", say("footnote"))
        yield Invoke("turn 2", say("two"))


# --- the functional API -------------------------------------------------------------------------


@dataclass(frozen=True)
class Functional(Scenario):
    """`@entrypoint` and `@task`: `previous` is read from the newest checkpoint, and results of
    tasks are writes, so a task that is done does not run again after an interrupt."""

    uses_context: ClassVar[bool] = True
    turns: int = 6

    def build(self, saver: Saver) -> Graph:
        @task
        def square(number: int) -> int:
            ran(f"square {number}")
            return number * number

        @entrypoint(checkpointer=saver)
        def total(number: int, *, previous: int | None = None) -> entrypoint.final[str, int]:
            squares = [square(number), square(number + 1)]
            subtotal = sum(future.result() for future in squares)
            factor = int(interrupt(f"times {number}?")) if number % 3 == 2 else 1
            grand_total = (previous or 0) + subtotal * factor
            ran(f"total {number}")
            return entrypoint.final(value=f"{number}: {grand_total}", save=grand_total)

        return total

    def script(self) -> Script:
        for turn in range(self.turns):
            now = yield Invoke(f"turn {turn}", turn)
            if now.interrupts:
                yield Invoke(f"answer {turn}", Command(resume=10))


# --- delta channels -----------------------------------------------------------------------------


def extend(value: Sequence[str], updates: Sequence[Sequence[str]]) -> list[str]:
    """The reducer of a delta channel: all updates of a superstep, or of many, at once."""
    return [*value, *(line for update in updates for line in update)]


class DeltaState(TypedDict, total=False):
    lines: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=4)]


@dataclass(frozen=True)
class OneDelta(Scenario):
    """One delta channel, written twice a turn, with a snapshot at every fourth update."""

    turns: int = 10

    def build(self, saver: Saver) -> Graph:
        return _delta_chat(saver)

    def script(self) -> Script:
        for turn in range(self.turns):
            yield Invoke(f"turn {turn}", say(f"turn {turn}"))


def _delta_chat(saver: Saver) -> Graph:
    def think(state: DeltaState) -> dict[str, Any]:
        ran("think")
        return {}

    def reply(state: DeltaState) -> dict[str, Any]:
        ran("reply")
        return say(f"reply to {len(state['lines'])} lines")

    graph = StateGraph(DeltaState).add_sequence([think, reply])
    graph.add_edge(START, "think")
    return graph.compile(checkpointer=saver)


class TwoDeltasState(TypedDict, total=False):
    often: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=3)]
    seldom: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=4)]
    never: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=2)]
    count: int


@dataclass(frozen=True)
class TwoDeltas(Scenario):
    """Two delta channels whose snapshots fall on different checkpoints, and one never written."""

    turns: int = 12

    def build(self, saver: Saver) -> Graph:
        def note(state: TwoDeltasState) -> TwoDeltasState:
            ran("note")
            return {"often": [f"note {len(state['often'])}"], "count": state.get("count", 0) + 1}

        def archive(state: TwoDeltasState) -> TwoDeltasState:
            ran("archive")
            return {"seldom": state["often"][-1:]} if state["count"] % 2 else {}

        graph = StateGraph(TwoDeltasState).add_sequence([note, archive])
        graph.add_edge(START, "note")
        return graph.compile(checkpointer=saver)

    def script(self) -> Script:
        for turn in range(self.turns):
            yield Invoke(f"turn {turn}", {"often": [f"turn {turn}"]})


@dataclass(frozen=True)
class DeltaWithInterrupts(Scenario):
    """Parallel nodes that write to one delta channel in one superstep, and ask while they do."""

    # With "exit" the Redis savers replay the two writes in the order of their random task ids.
    durabilities: ClassVar[tuple[Durability, ...]] = WITHIN_RUNS
    uses_context: ClassVar[bool] = True
    turns: int = 4

    def build(self, saver: Saver) -> Graph:
        def quick(state: DeltaState) -> dict[str, Any]:
            ran("quick")
            return say("quick")

        def slow(state: DeltaState) -> dict[str, Any]:
            reply = interrupt("slow?")
            ran("slow")
            return say(f"slow: {reply}")

        def join(state: DeltaState) -> dict[str, Any]:
            ran("join")
            return say(f"joined {len(state['lines'])} lines")

        graph = StateGraph(DeltaState)
        for node in (quick, slow):
            graph.add_node(node)
            graph.add_edge(START, node.__name__)
        graph.add_node(join)
        graph.add_edge(["quick", "slow"], "join")
        return graph.compile(checkpointer=saver)

    def script(self) -> Script:
        for turn in range(self.turns):
            yield Invoke(f"ask {turn}", say(f"turn {turn}"))
            yield Invoke(f"answer {turn}", Command(resume=f"yes {turn}"))


class DeltaMemoryState(Request, Report, total=False):
    memory: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=5)]


@dataclass(frozen=True)
class DeltaInStatefulSubgraph(Scenario):
    """A delta channel in a stateful subgraph: its ancestors lie in the subgraph's namespace."""

    turns: int = 10

    def build(self, saver: Saver) -> Graph:
        def recall(state: DeltaMemoryState) -> Report:
            count = len(state.get("memory", []))
            ran(f"recall {count}")
            return {"reports": [f"remembers {count} things"]}

        def keep(state: DeltaMemoryState) -> DeltaMemoryState:
            ran("keep")
            return {"memory": state["lines"][-1:]}

        inner = _subgraph(DeltaMemoryState).add_sequence([recall, keep])
        inner.add_edge(START, "recall")
        memory = inner.compile(checkpointer=True)
        return _with_subgraphs(memory=memory).compile(checkpointer=saver)

    def script(self) -> Script:
        for turn in range(self.turns):
            yield Invoke(f"turn {turn}", say(f"turn {turn}"))


@dataclass(frozen=True)
class DeltaFork(Scenario):
    """Branches of a delta channel: ancestors are found by parent, not by the order of the ids."""

    goes_back: ClassVar[int] = 5
    durabilities: ClassVar[tuple[Durability, ...]] = WITHIN_RUNS

    def build(self, saver: Saver) -> Graph:
        return _delta_chat(saver)

    def script(self) -> Script:
        yield Invoke("turn 0", say("zero"))
        earlier = yield Invoke("turn 1", say("one"))
        abandoned = yield Invoke("turn 2", say("two"))
        yield Invoke("branch", say("instead of two"), at=earlier.config)
        now = yield Invoke("back on the first branch", say("three"), at=abandoned.config)
        yield Invoke("regenerate", None, at=parent(now))
        yield Update("edit an old state", say("edited"), as_node="think", at=parent(now))
        yield Invoke("go on", None)
        for turn in range(4, 8):
            yield Invoke(f"turn {turn}", say(f"turn {turn}"))


ALL: tuple[Scenario, ...] = (
    Chat(),
    HumanInTheLoop(),
    Breakpoint(),
    ParallelTools(),
    MapReduce(),
    FailedStep(),
    NestedSubgraphs(),
    ManySubgraphs(),
    SubgraphCalledTwice(),
    StatefulSubgraph(),
    StatefulInsideStateless(),
    Replay(),
    Fork(),
    ReplaySubgraph(),
    EditState(),
    Functional(),
    OneDelta(),
    TwoDeltas(),
    DeltaWithInterrupts(),
    DeltaInStatefulSubgraph(),
    DeltaFork(),
)
