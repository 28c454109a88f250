"""What is retained and why, decided on tables in a Lua that knows no Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from lupa.lua51 import LuaRuntime

from redis_retention.scripts import module_source

NOW, MINUTE, DAY = 1_700_000_000_000, 60_000, 86_400_000
GRACE = MINUTE

# What a namespace answers, made of a table of its checkpoints, oldest first.
NAMESPACE = """
local checkpoints, pinned, latest, leaves, keep_last = ...
local self = { newest = {}, pinned = pinned, latest = latest }

local function newest_before(id, wanted)
  for at = #checkpoints, 1, -1 do
    local one = checkpoints[at]
    if one.id < id and wanted(one) then return one end
  end
end

for at = #checkpoints, 1, -1 do
  if checkpoints[at].exists and #self.newest < keep_last then
    self.newest[#self.newest + 1] = checkpoints[at].id
  end
end

function self.before(id)
  local one = newest_before(id, function() return true end)
  return one and { id = one.id, made_at = one.made_at }
end

function self.existing_before(id)
  local one = newest_before(id, function(one) return one.exists end)
  return one and one.id
end

function self.run_start(id)
  local one = newest_before(id .. "~", function(one) return one.begins_run end)
  return one and one.id
end

function self.leaves_below(floor)
  local below = {}
  for _, leaf in ipairs(leaves) do
    if leaf.id < floor then below[#below + 1] = leaf end
  end
  return below
end

return self
"""


@cache
def lua() -> Any:
    return LuaRuntime()


@cache
def decide() -> Any:
    return lua().execute(module_source("include/decide.lua", "langgraph_redis"))


@dataclass
class Checkpoint:
    """One checkpoint of a namespace."""

    id: str
    days_old: float | None = 0.0
    begins_run: bool = False
    exists: bool = True

    def table(self) -> dict[str, Any]:
        made_at = None if self.days_old is None else NOW - int(self.days_old * DAY)
        return {
            "id": self.id,
            "made_at": made_at,
            "begins_run": self.begins_run,
            "exists": self.exists,
        }


@dataclass
class Namespace:
    """What is known of a namespace."""

    checkpoints: Sequence[Checkpoint]
    latest: str | None = None
    pinned: Sequence[str] = ()
    leaves: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def policy(
    keep_last: int = 1,
    keep_within_days: float = -1,
    keep_runs: int = 0,
    expire_days: float = -1,
    expire_waiting: bool = False,
) -> Any:
    def milliseconds(days: float) -> int:
        return -1 if days < 0 else int(days * DAY)

    return lua().table_from(
        {
            "keep_last": keep_last,
            "keep_within": milliseconds(keep_within_days),
            "keep_runs": keep_runs,
            "expire": milliseconds(expire_days),
            "expire_waiting": expire_waiting,
            "now": lambda: NOW,
        }
    )


def rows(namespace: Namespace, wanted: Any) -> dict[str, list[str] | None]:
    """For each checkpoint its reasons, None for one to delete."""
    as_table = lua().table_from
    checkpoints = lua().execute(
        NAMESPACE,
        as_table([one.table() for one in namespace.checkpoints], recursive=True),
        as_table(dict.fromkeys(namespace.pinned, True)),
        namespace.latest,
        as_table(list(namespace.leaves), recursive=True),
        wanted.keep_last,
    )
    rules = decide().namespace(checkpoints, wanted, GRACE)
    return {one.id: reasons(decide().reasons(rules, one.id)) for one in namespace.checkpoints}


def reasons(table: Any) -> list[str] | None:
    return None if table is None else list(table.values())


def ids(text: str) -> list[Checkpoint]:
    """Checkpoints with these ids, oldest first; a run begins with each in capitals."""
    return [Checkpoint(id.lower(), begins_run=id.isupper()) for id in text.split()]


def aged(*days: float | None) -> list[Checkpoint]:
    """Checkpoints a, b, … that were made so many days ago."""
    return [Checkpoint(chr(ord("a") + at), old) for at, old in enumerate(days)]


LAST, GONE = ["last"], None

CASES: dict[str, tuple[Namespace, dict[str, Any], dict[str, list[str] | None]]] = {
    "the newest two are retained": (
        Namespace(ids("a b c d")),
        {"keep_last": 2},
        {"a": GONE, "b": GONE, "c": LAST, "d": LAST},
    ),
    "fewer than are to be kept are all retained": (
        Namespace(ids("a b")),
        {"keep_last": 5},
        {"a": LAST, "b": LAST},
    ),
    "a missing checkpoint is none of the newest": (
        Namespace([*ids("a b c"), Checkpoint("d", exists=False)]),
        {"keep_last": 2},
        {"a": GONE, "b": LAST, "c": LAST, "d": LAST},
    ),
    "what the latest pointer names is retained, however old its id": (
        Namespace(ids("a b c"), latest="a"),
        {"keep_last": 1},
        {"a": ["latest"], "b": GONE, "c": LAST},
    ),
    "what is young enough is retained": (
        Namespace(aged(9, 7.5, 6.5, 1, 0)),
        {"keep_last": 1, "keep_within_days": 7},
        {"a": GONE, "b": GONE, "c": ["within"], "d": ["within"], "e": LAST},
    ),
    "what is older than the oldest young one is deleted, though its clock says otherwise": (
        Namespace(aged(1, 9, 0)),
        {"keep_last": 1, "keep_within_days": 7},
        {"a": GONE, "b": GONE, "c": LAST},
    ),
    "an age that is unknown is no proof that a checkpoint is old": (
        Namespace(aged(9, None, 1, 0)),
        {"keep_last": 1, "keep_within_days": 7},
        {"a": GONE, "b": ["within"], "c": ["within"], "d": LAST},
    ),
    "the last checkpoint of each of the newest runs is retained": (
        Namespace(ids("A b c D e F g")),
        {"keep_last": 1, "keep_runs": 2},
        {"a": GONE, "b": GONE, "c": GONE, "d": GONE, "e": ["run"], "f": GONE, "g": ["last", "run"]},
    ),
    "a pinned run end uses up none of the runs": (
        Namespace(ids("A b C d E f"), pinned=["d"]),
        {"keep_last": 1, "keep_runs": 2},
        {
            "a": GONE,
            "b": ["run"],
            "c": GONE,
            "d": ["pinned", "run"],
            "e": GONE,
            "f": ["last", "run"],
        },
    ),
    "a pinned checkpoint is retained": (
        Namespace(ids("a b c"), pinned=["a", "c"]),
        {"keep_last": 1},
        {"a": ["pinned"], "b": GONE, "c": ["last", "pinned"]},
    ),
    "a leaf is retained while it is new, since the pointer may be about to name it": (
        Namespace(ids("a b c d"), leaves=[{"id": "b", "since": NOW - GRACE + 1}]),
        {"keep_last": 1},
        {"a": GONE, "b": ["recent"], "c": GONE, "d": LAST},
    ),
    "an older leaf is deleted": (
        Namespace(ids("a b"), leaves=[{"id": "a", "since": NOW - GRACE}]),
        {"keep_last": 1},
        {"a": GONE, "b": LAST},
    ),
    "a leaf that descends from the latest is retained with what lies between": (
        Namespace(
            ids("a b c d"),
            latest="d",
            leaves=[{"id": "b", "since": 0, "path": ["b", "a"]}],
        ),
        {"keep_last": 1},
        {"a": ["ahead"], "b": ["ahead"], "c": GONE, "d": ["last", "latest"]},
    ),
    "a leaf whose document is missing is not": (
        Namespace(ids("a b"), leaves=[{"id": "a", "since": NOW, "missing": True}]),
        {"keep_last": 1},
        {"a": GONE, "b": LAST},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_independent_namespace(
    case: tuple[Namespace, dict[str, Any], dict[str, list[str] | None]],
) -> None:
    namespace, wanted, expected = case
    assert rows(namespace, policy(**wanted)) == expected


def test_what_lies_below_a_broken_line_of_descent_is_retained() -> None:
    rules = decide().retain_all("all")
    rules.for_all, rules.floor, rules.counted, rules.unclear_below = None, "d", "d", "b"

    found = {name: reasons(decide().reasons(rules, name)) for name in "abcd"}

    assert found == {"a": ["unclear"], "b": GONE, "c": GONE, "d": LAST}


def test_a_reason_is_named_once() -> None:
    rules = decide().delete_all()
    for reason in ("delta", "sends", "delta"):
        decide().retain(rules, "a", reason)
    assert reasons(rules.retained.a) == ["delta", "sends"]


def never() -> bool:
    raise AssertionError("this need not be asked")


def invocation(
    roots: Mapping[str, bool],
    *,
    pinned: bool = False,
    is_being_put: Callable[[], bool] = lambda: False,
    is_indexed: Callable[[], bool] = lambda: True,
) -> list[str] | None:
    """Why the namespace of an invocation is retained that these roots, or not, have started."""
    table = {
        "pinned": pinned,
        "roots": lua().table_from(list(roots)),
        "is_retained": lambda root: roots[root],
        "is_being_put": is_being_put,
        "is_indexed": is_indexed,
    }
    return reasons(decide().invocation(lua().table_from(table)))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"roots": {"a": True}, "is_being_put": never, "is_indexed": never}, ["invocation"]),
        ({"roots": {"a": False, "b": True}}, ["invocation"]),
        ({"roots": {"a": False, "b": False}}, None),
        ({"roots": {"a": False}, "pinned": True}, ["pinned"]),
        ({"roots": {"a": False}, "is_being_put": lambda: True}, ["recent"]),
        ({"roots": {"a": False}, "is_indexed": lambda: False}, ["unclear"]),
    ],
)
def test_an_invocation_is_retained_with_a_root_that_started_it(
    known: dict[str, Any], expected: list[str] | None
) -> None:
    assert invocation(**known) == expected


def thread(
    *,
    days_old: float | None = 40,
    has_pins: bool = False,
    has_recent_leaf: bool = False,
    waits: bool = False,
    has_begun_to_expire: bool = False,
) -> Any:
    made_at = None if days_old is None else NOW - int(days_old * DAY)
    return lua().table_from(
        {
            "has_pins": has_pins,
            "made_at": lambda: made_at,
            "has_recent_leaf": lambda: has_recent_leaf,
            "waits": lambda: waits,
            "has_begun_to_expire": lambda: has_begun_to_expire,
        }
    )


@pytest.mark.parametrize(
    ("known", "wanted", "idle"),
    [
        ({}, {}, True),
        ({"days_old": 30.5}, {}, True),
        ({"days_old": 30}, {}, False),
        ({"days_old": None}, {}, False),
        ({"days_old": None, "has_begun_to_expire": True}, {}, True),
        ({"has_pins": True}, {}, False),
        ({"has_pins": True, "has_begun_to_expire": True}, {}, False),
        ({"waits": True}, {}, False),
        ({"waits": True}, {"expire_waiting": True}, True),
        ({}, {"expire_days": -1}, False),
    ],
)
def test_a_thread_is_idle_that_nothing_and_nobody_holds(
    known: dict[str, Any], wanted: dict[str, Any], idle: bool
) -> None:
    assert decide().is_idle(thread(**known), policy(**{"expire_days": 30, **wanted})) is idle


@pytest.mark.parametrize(
    ("since", "grace", "expired"),
    [(None, GRACE, False), (NOW - GRACE, GRACE, True), (NOW - 1, GRACE, False), (None, 0, True)],
)
def test_an_idle_thread_expires_when_it_has_been_found_idle_before(
    since: int | None, grace: int, expired: bool
) -> None:
    assert decide().has_expired(thread(), since, policy(), grace) is expired


def test_an_idle_thread_does_not_expire_while_a_leaf_of_it_is_recent() -> None:
    recent = thread(has_recent_leaf=True)
    assert not decide().has_expired(recent, NOW - GRACE, policy(), GRACE)


@pytest.mark.parametrize(
    ("pinned", "idle", "expired", "keep_last", "expected"),
    [
        (True, False, False, 3, ["pinned"]),
        (False, True, True, 3, None),
        (False, False, False, -1, ["all"]),
        (False, True, False, -1, ["idle"]),
    ],
)
def test_some_rules_hold_for_a_whole_thread(
    pinned: bool, idle: bool, expired: bool, keep_last: int, expected: list[str] | None
) -> None:
    rules = decide().whole_thread(pinned, idle, expired, policy(keep_last))
    assert reasons(decide().reasons(rules, "any")) == expected


def test_else_each_namespace_has_its_own() -> None:
    assert decide().whole_thread(False, True, False, policy(3)) is None
