"""``redis-retention demo``: before and after, on a real graph, without any server."""

from __future__ import annotations

import json
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import click
import redis
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from redis_retention import bodies
from redis_retention.cli.connection import Settings, pass_settings
from redis_retention.cli.options import global_options
from redis_retention.cli.output import new_table, sentence, show_json
from redis_retention.cli.plan import legend, table, totals
from redis_retention.layouts import LangGraphRedis
from redis_retention.operations.plan import Plan
from redis_retention.policy import Policy
from redis_retention.results import TrimResult
from redis_retention.retention import Retention
from redis_retention.wording import size

THREAD = "ada"
POLICY = Policy(keep_last=10)
WIDTH = 80
# Rows of the plan that are shown of those that go.
_SHOWN_OF_DELETED = 3

FACTS = (
    "My name is Ada.",
    "I live in Turin.",
    "I write programs for a loom.",
    "My favourite number is 1843.",
    "I prefer tea to coffee.",
    "My cat is called Bernoulli.",
    "I am afraid of geese.",
    "On Sundays I ride my bicycle.",
    "My sister plays the cello.",
    "I am learning Portuguese.",
    "I can whistle two notes at once.",
    "Tomorrow I fly to Lisbon.",
)
QUESTION = "What is my name?"


@dataclass(frozen=True, slots=True)
class Stock:
    """What the saver has in Redis.

    Attributes:
        checkpoints: Checkpoint documents.
        keys: All its keys.
        bytes: The JSON of all its documents.
    """

    checkpoints: int
    keys: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Story:
    """What happened in the demo."""

    before: Stock
    plan: Plan
    trim: TrimResult
    after: Stock
    messages: int
    state_unchanged: bool
    answer: str


@click.command
@global_options("json")
@pass_settings
def demo(settings: Settings) -> None:
    """Show what a trim does; needs no server."""
    with _third_parties_are_quiet():
        try:
            story = play()
        except ImportError as error:
            raise click.ClickException(
                f"the demo needs a package that is not installed ({error.name}): "
                "pip install 'redis-retention[demo]'"
            ) from error
    if settings.json:
        show_json(_as_json(story))
    else:
        _tell(story)


@contextmanager
def _third_parties_are_quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def play() -> Story:
    """Let a graph write its checkpoints, trim them, and let it go on.

    Raises:
        ImportError: The extra `demo` is not installed.
    """
    from langsmith import tracing_context

    # The embedded server refuses writes that come before their checkpoint: one after the other.
    config = {"configurable": {"thread_id": THREAD}, "max_concurrency": 1}
    with tracing_context(enabled=False), _embedded_redis() as client:
        graph = build_graph(client)
        for fact in FACTS:
            _say(graph, fact, config)
        values = graph.get_state(config).values
        before, sizes = _stock(client), _sizes(client)
        retention = Retention(client)
        plan = _with_sizes(retention.plan(THREAD, POLICY, look_in="scan"), sizes)
        trim = retention.trim(THREAD, POLICY, look_in="scan")
        after = _stock(client)
        unchanged = graph.get_state(config).values == values
        answer = _say(graph, QUESTION, config)
    return Story(before, plan, trim, after, len(values["messages"]), unchanged, answer)


@contextmanager
def _embedded_redis() -> Iterator[redis.Redis]:
    from fakeredis import TcpFakeServer

    server = TcpFakeServer(("127.0.0.1", 0))
    # A connection that is still open must not keep the program from ending.
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host, port = server.server_address[:2]
    try:
        with redis.Redis(host=str(host), port=int(port), socket_timeout=30) as client:
            yield client
    finally:
        server.shutdown()
        server.server_close()


def build_graph(client: redis.Redis) -> Any:
    """A chat without a model: it remembers what was said and finds a name in it."""
    from langchain_core.messages import AIMessage
    from langgraph.checkpoint.redis import RedisSaver
    from langgraph.checkpoint.redis.key_registry import SyncCheckpointKeyRegistry
    from langgraph.graph import START, MessagesState, StateGraph

    def answer(state: MessagesState) -> dict[str, Any]:
        said = [str(message.content) for message in state["messages"]]
        return {"messages": [AIMessage(_answer(said))]}

    saver = RedisSaver(redis_client=client)
    # `setup()` would do this, and make search indexes, which the embedded server does not have.
    saver._key_registry = SyncCheckpointKeyRegistry(client)
    graph = StateGraph(MessagesState)
    # Under postponed evaluation LangGraph cannot read a type that is imported in here.
    graph.add_node("answer", answer, input_schema=MessagesState)
    graph.add_edge(START, "answer")
    return graph.compile(checkpointer=saver)


def _answer(said: list[str]) -> str:
    if said[-1] != QUESTION:
        return "I shall remember that."
    at, name = next(
        (at, text.removeprefix("My name is ").rstrip("."))
        for at, text in enumerate(said)
        if text.startswith("My name is ")
    )
    return f"{name}. You told me {len(said) - 1 - at} messages ago."


def _say(graph: Any, text: str, config: dict[str, Any]) -> str:
    values = graph.invoke({"messages": [("user", text)]}, config, durability="sync")
    return str(values["messages"][-1].content)


def _sizes(client: redis.Redis) -> dict[str, int]:
    documents = (key.decode() for key in client.scan_iter("checkpoint*:*") if b"latest" not in key)
    return {key: len(_json(client.json().get(key))) for key in documents}


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _stock(client: redis.Redis) -> Stock:
    sizes = _sizes(client)
    checkpoints = sum(key.startswith("checkpoint:") for key in sizes)
    keys = sum(not key.startswith(b"retention:") for key in client.scan_iter())
    return Stock(checkpoints, keys, sum(sizes.values()))


def _with_sizes(plan: Plan, sizes: dict[str, int]) -> Plan:
    """The plan with the size of each checkpoint's document, which the server does not tell."""
    key = LangGraphRedis().checkpoint_key
    measured = [
        replace(one, size=sizes[key(THREAD.encode(), b"", one.checkpoint_id.encode()).decode()])
        for one in plan.checkpoints
    ]
    return replace(plan, checkpoints=measured)


def _as_json(story: Story) -> dict[str, Any]:
    return {
        "before": asdict(story.before),
        "trim": bodies.of_trim(story.trim),
        "after": asdict(story.after),
        "state_unchanged": story.state_unchanged,
        "question": QUESTION,
        "answer": story.answer,
    }


def _tell(story: Story) -> None:
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH

    def say(text: str) -> None:
        console.print(text)

    def prompt(command: str) -> None:
        console.print(Text.assemble("\n", ("$ ", "dim"), (command, "bold cyan")))

    before, after = story.before, story.after
    say(
        f"Ada has said {len(FACTS)} things to a LangGraph chat. Its RedisSaver stored the whole "
        f"state after every step:\n[bold]{before.checkpoints} checkpoints[/], {before.keys} keys, "
        f"{size(before.bytes)} of JSON, for {story.messages} short messages."
    )
    prompt(f"redis-retention plan {THREAD} --keep-last {POLICY.keep_last}")
    console.print(_short(story.plan))
    for line in legend(story.plan.kept):
        console.print(line)
    console.print(totals(story.plan))
    prompt(f"redis-retention trim {THREAD} --keep-last {POLICY.keep_last}")
    console.print(sentence(story.trim))
    console.print(Padding(_comparison(before, after), (1, 0), expand=False))
    console.print(_outcome(story))


def _short(plan: Plan) -> Table:
    deleted, retained = plan.deleted, plan.kept
    return table([*deleted[:_SHOWN_OF_DELETED], None, *retained])


def _comparison(before: Stock, after: Stock) -> Table:
    made = new_table()
    made.add_column("")
    for title in ("before", "after"):
        made.add_column(title, justify="right")
    made.add_row("checkpoints", str(before.checkpoints), f"[bold green]{after.checkpoints}[/]")
    made.add_row("keys", str(before.keys), f"[bold green]{after.keys}[/]")
    made.add_row("JSON", size(before.bytes), f"[bold green]{size(after.bytes)}[/]")
    return made


def _outcome(story: Story) -> Text:
    if not story.state_unchanged:
        return Text("The state is not what it was: please report this.", style="bold red")
    return Text.assemble(
        f"The state is what it was, all {story.messages} messages, and the chat goes on:\n\n",
        ("  Ada   ", "dim"),
        f"{QUESTION}\n",
        ("  chat  ", "dim"),
        (story.answer, "green"),
    )
