"""What it saves: the memory of a long conversation, with and without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.redis import RedisSaver
from langgraph.graph import START, MessagesState, StateGraph

from benchmarks.lab import KEEP, Lab, Say, opened
from benchmarks.measure import ratio, short, times
from benchmarks.report import Section
from benchmarks.scale import TRIGGER, Scale
from redis_retention.sources.notifications import SETTING
from tests.daemon.service import Service, eventually

QUESTION = "And what does that mean for a thread that waits for a human? " * 3
ANSWER = "It stays, for whoever is waited for may come back to it at any time. " * 12
THREAD = "conversation"

WITHOUT, WITH = "without", "with redis-retention"

# Legible on white and on black: the picture's background is transparent.
_GREY, _RED, _GREEN = "#7d8590", "#db6d28", "#2da44e"

ABOUT = f"""\
A real graph, one node that answers, is asked again and again; a question has {len(QUESTION)}
characters, an answer {len(ANSWER)}. LangGraph writes three checkpoints a turn, each with the whole
conversation up to then. The memory is what the server uses beyond what it used before the first
turn: documents, writes, the saver's search indexes and our own keys. With is with
`redis-retention listen --keep-last {KEEP} --trigger {TRIGGER}` as a process of its own. In both
the conversation reads the same at the end, which is checked."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was measured after each turn, and what can be read at the end."""

    megabytes: list[float]
    checkpoints: list[int]
    messages: list[str]

    @property
    def most(self) -> float:
        """The most memory of all turns: with trims it goes up and down."""
        return max(self.megabytes)


def measure(server: str, scale: Scale, say: Say, picture: Path = Path("savings.svg")) -> Section:
    """Have the conversation twice, and draw what it took."""
    with opened(server, collecting=True) as lab:
        say(f"{scale.turns} turns without")
        without = _converse(lab, scale.turns)
        lab.clear()
        say(f"{scale.turns} turns with the daemon attached")
        options = ("--keep-last", f"{KEEP}", "--trigger", f"{TRIGGER}")
        with Service("--url", lab.server.url, *options, command="listen") as service:
            service.wait_for("ready: listening")
            within = _converse(lab, scale.turns, lambda: _wait_for_trim(lab))
        lab.admin.config_set(SETTING, "")
    if without.messages != within.messages:
        raise RuntimeError("the conversation reads differently after it was trimmed")
    draw(picture, without, within)
    return _section(without, within)


def _section(without: Conversation, within: Conversation) -> Section:
    section = Section("What it saves", ABOUT)
    turns = len(without.megabytes)
    rows = [
        [name, f"{short(one.most)} MB", f"{short(one.megabytes[-1])} MB", f"{one.checkpoints[-1]}"]
        for name, one in ((WITHOUT, without), (WITH, within))
    ]
    rows.append(["ratio", times(ratio(without.most, within.most)), "", ""])
    header = (f"{turns} turns", "memory at most", "at the end", "checkpoints at the end")
    section.table("", header, rows)
    return section


def _converse(lab: Lab, turns: int, wait: Callable[[], None] = lambda: None) -> Conversation:
    graph = _graph(lab.saver)
    config: RunnableConfig = {"configurable": {"thread_id": THREAD}}
    lab.settle()
    begun = _used(lab)
    megabytes, checkpoints = [], []
    for number in range(turns):
        asked = HumanMessage(f"{number}: {QUESTION}", id=f"question {number}")
        graph.invoke({"messages": [asked]}, config, durability="sync")
        wait()
        megabytes.append((_used(lab) - begun) / 1e6)
        checkpoints.append(_count(lab))
    messages = [str(message.content) for message in graph.get_state(config).values["messages"]]
    return Conversation(megabytes, checkpoints, messages)


def _graph(saver: RedisSaver) -> Any:
    def answer(state: MessagesState) -> dict[str, list[AIMessage]]:
        number = len(state["messages"])
        return {"messages": [AIMessage(f"{number}: {ANSWER}", id=f"answer {number}")]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=saver)


def _used(lab: Lab) -> int:
    return int(lab.admin.info("memory")["used_memory"])


def _count(lab: Lab) -> int:
    return len(lab.admin.keys(f"checkpoint:{THREAD}:*"))


def _wait_for_trim(lab: Lab) -> None:
    eventually(lambda: _count(lab) <= TRIGGER)


def draw(path: Path, without: Conversation, within: Conversation) -> None:
    """Two lines, for light pages and for dark ones."""
    import matplotlib as mpl

    mpl.use("svg")
    # The same numbers give the same file.
    mpl.rcParams["svg.hashsalt"] = "redis-retention"
    mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    for what in ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"):
        mpl.rcParams[what] = _GREY
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.6))
    for one, name, colour in ((without, WITHOUT, _RED), (within, WITH, _GREEN)):
        turns = range(1, len(one.megabytes) + 1)
        axes.plot(turns, one.megabytes, color=colour, linewidth=2.5)
        style: dict[str, Any] = {"ha": "right", "va": "bottom", "fontweight": "bold"}
        style |= {"xytext": (-8, 14), "textcoords": "offset points", "color": colour}
        axes.annotate(f"{name}: {short(one.most)} MB", (turns[-1], one.most), **style)
    axes.set_xlabel("turns of one conversation")
    axes.set_ylabel("memory in Redis, MB")
    axes.grid(visible=True, alpha=0.25)
    axes.set_xlim(0)
    axes.set_ylim(0, max(without.megabytes) * 1.15)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
