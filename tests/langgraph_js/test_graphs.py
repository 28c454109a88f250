"""Real graphs of LangGraph.js, trimmed between the commands of their saver and after each step.

Each is compared with a run of the same graph in another thread, which nobody trims.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
import redis
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from redis_retention import Policy, Retention
from redis_retention.engine import Engine, Rule
from redis_retention.layouts import LangGraphJs
from redis_retention.sources import scan, shared_keys
from redis_retention.sources.sweep import Sweeper
from redis_retention.transport import Transport
from tests.graphs import observe
from tests.graphs.savers import OrderedSaver
from tests.graphs.scenarios import ManySubgraphs, NestedSubgraphs, Scenario, StatefulInsideStateless
from tests.langgraph_js.documents import readings, state
from tests.langgraph_js.program import Program
from tests.servers.start import Server

CONTROL, TRIMMED = "control", "trimmed"

# What differs between two runs: ids of checkpoints, tasks and interrupts.
_ids_in = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}").sub

Step: TypeAlias = "Callable[[Run], Any]"


def without_ids(answer: Any) -> Any:
    """An answer in which runs of the same graph agree."""
    text = json.dumps(answer, sort_keys=True)
    return json.loads(_ids_in("#", text).replace(TRIMMED, CONTROL))


@dataclass
class Run:
    """One thread of a graph.

    Attributes:
        graph: Its name in the program.
        thread: The thread.
        trims: What trims it, None in the control run.
        ids: The root checkpoints that there have been, oldest first.
    """

    program: Program
    client: redis.Redis
    graph: str
    thread: str
    trims: Trims | None = None
    ids: list[str] = field(default_factory=list)

    def invoke(self, **given: Any) -> Any:
        return self._do("invoke", **given)

    def update(self, **given: Any) -> None:
        self._do("update", **given)

    def state(self) -> Any:
        return self.program.do("state", graph=self.graph, thread=self.thread)

    def history(self) -> list[Any]:
        found: list[Any] = self.program.do("history", graph=self.graph, thread=self.thread)
        return found

    def runs(self) -> dict[str, int]:
        """How often each node has run."""
        counted: dict[str, int] = self.program.do("runs")
        start = f"{self.thread} "
        return {k.removeprefix(start): n for k, n in counted.items() if k.startswith(start)}

    def _do(self, command: str, **given: Any) -> Any:
        on_pause = None if self.trims is None else self._between
        answer = self.program.do(command, on_pause, graph=self.graph, thread=self.thread, **given)
        self._note_ids()
        if self.trims is not None:
            self.trims.at_rest(self.program)
        return answer

    def _between(self, what: str) -> None:
        assert self.trims is not None
        if what != "writes":
            self._note_ids()
            self.trims.beside_a_writer()

    def present(self) -> list[str]:
        """The root checkpoints that there are, oldest first."""
        start = f"checkpoint:{self.thread}::"
        keys = self.client.scan_iter(f"{start}*", count=1000)
        return sorted(key.decode().removeprefix(start) for key in keys)

    def _note_ids(self) -> None:
        self.ids = sorted({*self.ids, *self.present()})


@dataclass
class Trims:
    """Trims one thread, and makes sure of what is left at every turn."""

    client: redis.Redis
    policy: Policy
    turns: int = 0

    def beside_a_writer(self) -> None:
        before = readings(self.client, TRIMMED)
        self._trim(Engine(LangGraphJs()))
        # What does not wait for this pause goes on writing.
        after = readings(self.client, TRIMMED)
        after = {place: values for place, values in after.items() if place in before}
        assert after == {place: before[place] for place in after}

    def at_rest(self, program: Program) -> None:
        """Trim and sweep as hard as can be, while nobody writes."""
        before = self._tuples(program)
        engine = Engine(LangGraphJs(), grace_ms=0)
        self._trim(engine)
        rule = Rule(TRIMMED.encode(), self.policy)
        sweeper = Sweeper(engine, [rule], match=TRIMMED.encode(), older_than_ms=0)
        Transport(self.client).run(sweeper.sweep())
        after = self._tuples(program)
        assert after
        assert after == {place: before[place] for place in after}

    def _trim(self, engine: Engine) -> None:
        transport, name = Transport(self.client), TRIMMED.encode()
        self.turns += 1
        if self.turns % 3 == 0:
            transport.run(engine.trim(name, self.policy))
        found = transport.run(scan.find(engine.layout, [name]))[name]
        transport.run(shared_keys.trim(engine, name, found, self.policy))

    def _places(self) -> Iterator[tuple[str, str]]:
        for key in self.client.scan_iter(f"checkpoint:{TRIMMED}:*", count=1000):
            ns, _, checkpoint_id = (
                key.decode().removeprefix(f"checkpoint:{TRIMMED}:").rpartition(":")
            )
            yield ns, checkpoint_id

    def _tuples(self, program: Program) -> dict[tuple[str, str], Any]:
        return {
            (ns, one): program.do("tuple", thread=TRIMMED, ns=ns, checkpoint=one)
            for ns, one in self._places()
        }


def say(text: str, channel: str = "log") -> Step:
    return lambda run: run.invoke(input={channel: [text]})


def answer(text: str) -> Step:
    return lambda run: run.invoke(resume=text)


def replay(back: int) -> Step:
    """Go back that many checkpoints, and run from there once more."""
    return lambda run: run.invoke(checkpoint=run.ids[-back])


def fork(back: int, text: str) -> Step:
    """Go back that many checkpoints, and go on from there with another input."""
    return lambda run: run.invoke(checkpoint=run.ids[-back], input={"messages": [text]})


def edit(back: int) -> Step:
    """Change the state as it was that many checkpoints ago."""
    return lambda run: run.update(
        checkpoint=run.ids[-back], values={"messages": ["edited"]}, node="model"
    )


def go_on(run: Run) -> Any:
    return run.invoke()


def write_essay(run: Run) -> Any:
    return run.invoke(input={"text": "trees", "thread": run.thread})


SCENARIOS: dict[str, tuple[str, int, list[Step]]] = {
    "chat": ("chat", 1, [say(f"hello {n}", "messages") for n in range(4)]),
    "subgraphs": ("subgraphs", 1, [say(f"again {n}") for n in range(3)]),
    "interrupts": (
        "approval",
        1,
        [say("begin"), answer("one"), answer("two"), answer("three"), say("next"), answer("four")],
    ),
    "parallel tools": ("tools", 1, [say("x", "calls"), answer("yes"), answer("again")]),
    "time travel": (
        "chat",
        4,
        [
            *(say(f"hello {n}", "messages") for n in range(3)),
            replay(3),
            fork(4, "another way"),
            edit(2),
            go_on,
            say("the end", "messages"),
        ],
    ),
    "delta channels": ("delta", 1, [say(f"in {n}", "items") for n in range(5)]),
    "functional": ("functional", 1, [write_essay, answer("fine"), write_essay, answer("good")]),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_trimmed_graph_runs_like_one_that_is_never_trimmed(
    program: Program, server: Server, client: redis.Redis, scenario: str
) -> None:
    graph, keep_last, steps = SCENARIOS[scenario]
    program.connect(server.port)
    before = program.do("runs")
    policy = Policy(keep_last=keep_last)
    control = Run(program, client, graph, CONTROL)
    trimmed = Run(program, client, graph, TRIMMED, Trims(client, policy))

    for step in steps:
        assert without_ids(step(trimmed)) == without_ids(step(control))
        assert without_ids(trimmed.state()) == without_ids(control.state())

    history = {one["id"]: one for one in trimmed.history()}
    never_trimmed = {one["id"]: one for one in control.history()}
    assert len(trimmed.ids) == len(control.ids)
    assert 0 < len(history) < len(never_trimmed)
    for its, others in zip(trimmed.ids, control.ids, strict=True):
        if its in history:
            assert without_ids(history[its]) == without_ids(never_trimmed[others])
    ran = trimmed.runs()
    assert ran == control.runs()
    assert ran != {k.removeprefix(f"{TRIMMED} "): n for k, n in before.items()}


@pytest.mark.parametrize(
    "scenario",
    [ManySubgraphs(calls=5), StatefulInsideStateless(turns=4), NestedSubgraphs()],
    ids=lambda scenario: scenario.name,
)
def test_subgraphs_of_both_savers_run_under_one_name(
    program: Program, server: Server, client: redis.Redis, scenario: Scenario
) -> None:
    """Threads of the same id, with subgraphs, of Python's saver and of this one."""
    program.connect(server.port)
    saver = OrderedSaver(redis_client=client)
    saver.setup()
    control = Run(program, client, "subgraphs", CONTROL)
    trimmed = Run(program, client, "subgraphs", TRIMMED)
    retention, policy = Retention(client, grace=timedelta(0)), Policy(keep_last=1)

    def readings_of_both() -> tuple[dict[Any, Any], dict[Any, Any]]:
        # Only the metadata tells documents of subgraphs apart: it is a text in Python's.
        of_python: list[observe.Key] = []
        of_js: list[observe.Key] = []
        for key in observe.keys(saver, TRIMMED):
            name = f"checkpoint:{TRIMMED}:{key.ns or '__empty__'}:{key.id}"
            metadata: Any = client.json().get(name, "$.metadata")
            (of_python if isinstance(metadata[0], str) else of_js).append(key)
        python = observe.tuples(saver, TRIMMED, of_python)
        js = {
            (key.ns, key.id): program.do("tuple", thread=TRIMMED, ns=key.ns, checkpoint=key.id)
            for key in [*of_js, *(observe.Key("", one) for one in trimmed.present())]
        }
        return python, js

    def trim_both() -> None:
        step = say(f"step {len(trimmed.ids)}")
        assert without_ids(step(trimmed)) == without_ids(step(control))
        before = readings_of_both()
        retention.trim(TRIMMED, policy)
        retention.sweep(policy, match=TRIMMED)
        for then, now in zip(before, readings_of_both(), strict=True):
            assert 0 < len(now) < len(then)
            assert now == {place: then[place] for place in now}
        assert without_ids(trimmed.state()) == without_ids(control.state())

    config: RunnableConfig = {"configurable": {"thread_id": TRIMMED}}
    seen = scenario.run(scenario.build(saver), config, trim_both)

    assert seen == scenario.run(scenario.build(InMemorySaver()), config)
    assert trimmed.runs() == control.runs()


def test_a_shallow_savers_keys_are_left_alone(program: Program, stack: redis.Redis) -> None:
    port: int = stack.connection_pool.connection_kwargs["port"]
    program.connect(port)
    program.do("invoke", graph="shallow", thread=TRIMMED, input={"log": ["begin"]})
    before = state(stack)
    rule = Rule(b"*", Policy(keep_last=1))

    sweeper = Sweeper(Engine(LangGraphJs(), grace_ms=0), [rule], older_than_ms=0)
    Transport(stack).run(sweeper.sweep())

    assert state(stack) == before
