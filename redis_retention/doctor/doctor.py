"""Finds out whether everything works on a server, by trying it. It changes nothing.

What it writes to prove that it may, it writes to a key of our own and takes away again; what it
deletes does not exist.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError, ResponseError

from redis_retention.doctor.holdings import MOST_KEYS, Holding, holdings
from redis_retention.engine import Engine
from redis_retention.errors import RetentionError
from redis_retention.layouts import Events, Family
from redis_retention.layouts.layout import all_events
from redis_retention.layouts.names import title
from redis_retention.policies import Policies
from redis_retention.sans_io import Argument, Command, Nodes, Operation, command, send
from redis_retention.served import Served
from redis_retention.sources.notifications import SETTING, Heard, advice, missing, read_flags
from redis_retention.wording import counted, size

OLDEST_VERSION = (6, 2)
_NEARLY_FULL = 0.9
# Without it, `stats` and `plan` tell no sizes.
_OPTIONAL = {"sizes"}
_REFUSALS = (NoPermissionError, OutOfMemoryError, ReadOnlyError)
_MEBIBYTE = 2**20

_Info: TypeAlias = Mapping[str, Any]
_Words: TypeAlias = tuple[Argument, ...]


class State(Enum):
    """How something is."""

    FINE = "fine"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        found: What was found.
        state: How it is.
        mend: What to do about it, empty when nothing is to be done.
    """

    name: str
    found: str
    state: State = State.FINE
    mend: str = ""


def _broken(name: str, found: str, mend: str) -> Check:
    return Check(name, found, State.BROKEN, mend)


def _warning(name: str, found: str, mend: str) -> Check:
    return Check(name, found, State.WARNING, mend)


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found out.

    Attributes:
        checks: The checks.
        served: The formats for which that was tried: of which there is something, or the first.
        events: The events that tell of their documents.
    """

    checks: list[Check]
    served: Served
    events: Events


def examine(served: Served) -> Operation[Examined]:
    """Look at everything, except whether events arrive."""
    info = yield from _info()
    checks = [_server(info), _role(info), _memory(info), _eviction(info), _persistence(info)]
    held, complete = yield from _held(served)
    if served.auto:
        served = Served(list(held) or [served.first], served.policies, auto=False)
    waited_for = all_events([engine.layout for engine in served.engines])
    checks.append((yield from _json(served.first)))
    checks.append(_search(info))
    checks += _savers(held, complete)
    checks += yield from _permissions(served.first)
    checks.append((yield from _setting(waited_for)))
    return Examined(checks, served, waited_for)


def _held(served: Served) -> Operation[tuple[dict[Engine, Holding], bool]]:
    try:
        return (yield from holdings(served))
    except ResponseError:
        # What may not be done is told by what is tried.
        return {}, False


def _savers(held: Mapping[Engine, Holding], complete: bool) -> list[Check]:
    """Whose checkpoints there are."""
    if not held:
        some = "" if complete else f" among the first {MOST_KEYS:,} keys"
        return [Check("savers", f"no checkpoints{some}")]
    checks = []
    for engine, holding in held.items():
        threads = counted(len(holding.threads), "thread")
        found = f"{threads}, {counted(holding.checkpoints, 'checkpoint')}"
        if holding.size is not None:
            found += f", about {size(holding.size)}"
        if not complete:
            found += f", among the first {MOST_KEYS:,} keys"
        checks.append(Check(f"saver: {title(engine.layout)}", found))
    return checks


def events(heard: Heard, waited_for: Events) -> Check:
    """What a probe for events has shown."""
    if heard is Heard.EVENTS:
        return Check("events", "an event on a key of our own arrived")
    if heard is Heard.UNPROVED:
        return _warning(
            "events", heard.value, f"allow {waited_for.trial[0]} on our keys, to have it proved"
        )
    return _broken(
        "events",
        f"no event arrived: {heard.value}",
        f"`redis-retention run` switches them on where it may use CONFIG SET; else "
        f"{advice(waited_for)}",
    )


# --- the server ---------------------------------------------------------------------------------


def _info() -> Operation[_Info]:
    """INFO, of the first node in a cluster; nothing where it is not allowed."""
    nodes = yield Nodes()
    try:
        info: _Info = yield from command("INFO", "everything", node=nodes[0])
    except ResponseError:
        return {}
    return info


def _server(info: _Info) -> Check:
    version = info.get("valkey_version") or info.get("redis_version")
    if version is None:
        return _warning("server", "does not say what it is", "allow INFO")
    name = "Valkey" if "valkey_version" in info else "Redis"
    found = f"{name} {version}, {info.get('redis_mode', 'standalone')}"
    if tuple(int(part) for part in str(version).split(".")[:2]) < OLDEST_VERSION:
        return _broken("server", found, "use Redis 6.2 or newer, or Valkey")
    return Check("server", found)


def _role(info: _Info) -> Check:
    if info.get("role") == "slave":
        return _broken("role", "a read-only replica", "use the address of its primary")
    return Check("role", "a primary")


def _memory(info: _Info) -> Check:
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if not limit:
        return Check("memory", f"{_mebibytes(used)} used, without a limit (maxmemory)")
    found = f"{_mebibytes(used)} of {_mebibytes(limit)} used"
    if used > limit * _NEARLY_FULL:
        return _warning("memory", found, "raise maxmemory, or keep less: see `stats`")
    return Check("memory", found)


def _mebibytes(number: int) -> str:
    return f"{number / _MEBIBYTE:,.1f} MiB"


def _eviction(info: _Info) -> Check:
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction" or not int(info.get("maxmemory", 0)):
        return Check("eviction", policy)
    mend = "set maxmemory-policy noeviction, and keep less"
    if policy.startswith("allkeys"):
        found = f"{policy}: when memory is full, the server deletes parts of checkpoints"
        return _broken("eviction", found, mend)
    found = f"{policy}: when memory is full, the server deletes parts of checkpoints with a TTL"
    return _warning("eviction", found, mend)


def _persistence(info: _Info) -> Check:
    if str(info.get("rdb_last_bgsave_status", "ok")) != "ok":
        return _broken("persistence", "the last save failed", "see the log of the server")
    if str(info.get("aof_enabled", "0")) == "1":
        return Check("persistence", "every write is logged (appendonly yes)")
    return Check("persistence", "what was written since the last snapshot can be lost")


# --- modules ------------------------------------------------------------------------------------


def _json(engine: Engine) -> Operation[Check]:
    try:
        yield from engine.check_server()
    except RetentionError as error:
        return _broken("RedisJSON", "missing", str(error))
    except ResponseError as error:
        return _broken("RedisJSON", str(error), _grant(error))
    if engine.layout.requirement is None:
        return Check("RedisJSON", "not needed here")
    return Check("RedisJSON", "answers")


def _search(info: _Info) -> Check:
    found = "there" if "search_version" in info else "not seen"
    return Check("RediSearch", f"{found}; it is not needed here")


# --- permissions --------------------------------------------------------------------------------


def _permissions(engine: Engine) -> Operation[list[Check]]:
    checks: list[Check] = []
    for name, calls in _trials(engine).items():
        checks.append((yield from _try(name, calls)))
    checks.append((yield from _scripts(engine)))
    return checks


def _trials(engine: Engine) -> dict[str, list[_Words]]:
    """Harmless calls of what the scripts and the sources call, by what they are for."""
    nobody = b"redis-retention-doctor-" + secrets.token_hex(8).encode()
    saver = {family: start + nobody for start, family in engine.layout.families().items()}
    document = saver[Family.CHECKPOINT]
    reads: list[_Words] = [("EXISTS", key) for key in saver.values()]
    deletes: list[_Words] = [("UNLINK", key) for key in saver.values()]
    if engine.layout.requirement is not None:
        reads += [(name, document, "$") for name in ("JSON.GET", "JSON.MGET", "JSON.OBJKEYS")]
    if Family.WRITE in saver:
        reads.append(("JSON.GET", saver[Family.WRITE], "$"))
    if Family.REGISTRY in saver:
        registry = saver[Family.REGISTRY]
        reads += [("ZRANGE", registry, 0, 0), ("ZCARD", registry)]
        deletes.append(("ZREM", registry, "none"))
    if Family.LATEST in saver:
        reads.append(("GET", saver[Family.LATEST]))
    own = f"{engine.prefix}probe:{nobody.decode()}"
    return {
        "read": reads,
        "delete": deletes,
        "index": [
            ("ZADD", own, 0, "a"),
            ("ZREM", own, "b"),
            ("ZREMRANGEBYLEX", own, "[b", "[b"),
            ("ZRANGE", own, 0, 0),
            ("ZRANGEBYLEX", own, "-", "+"),
            ("ZREVRANGEBYLEX", own, "+", "-"),
            ("ZLEXCOUNT", own, "-", "+"),
            ("ZCARD", own),
            ("ZRANDMEMBER", own),
            ("TYPE", own),
            ("UNLINK", own),
        ],
        "policies and pins": [
            ("HGETALL", Policies(engine.layout, engine.prefix).key),
            ("HKEYS", engine.pins_key(nobody)),
        ],
        "sweep": [
            ("SCAN", 0, "COUNT", 1),
            ("TIME",),
            ("SET", own, 1, "NX", "PX", 1000),
            ("GET", own),
            ("PEXPIRE", own, 1000),
            ("DEL", own),
        ],
        "sizes": [("MEMORY", "USAGE", document)],
    }


def _try(name: str, calls: Sequence[_Words]) -> Operation[Check]:
    for words in calls:
        try:
            yield from send(Command(words))
        except ResponseError as error:
            if _is_refusal(error):
                return _refused(name, f"{words[0]!s}: {error}", error)
    return Check(f"may: {name}", "yes")


def _is_refusal(error: ResponseError) -> bool:
    """Whether it is not just that the key does not exist."""
    return isinstance(error, _REFUSALS) or "unknown command" in str(error).lower()


def _refused(name: str, found: str, error: ResponseError) -> Check:
    if name in _OPTIONAL:
        return _warning(f"may: {name}", found, _grant(error))
    return _broken(f"may: {name}", found, _grant(error))


def _scripts(engine: Engine) -> Operation[Check]:
    """Load the scripts, which call all they need when they have keys."""
    try:
        yield from engine.track(())
        yield from engine.forget(())
    except ResponseError as error:
        return _broken("may: scripts", str(error), _grant(error))
    return Check("may: scripts", "yes")


def _grant(error: ResponseError) -> str:
    if isinstance(error, OutOfMemoryError):
        return "raise maxmemory, or free memory with `redis-retention trim --indexed-only`"
    if "unknown command" in str(error).lower():
        return "use a server that knows the command, and has not renamed or disabled it"
    return "grant it with ACL SETUSER, as in docs/deploy/users.acl"


# --- notifications ------------------------------------------------------------------------------


def _setting(waited_for: Events) -> Operation[Check]:
    nodes = yield Nodes()
    try:
        flags = yield from read_flags(nodes[0])
    except ResponseError:
        return Check(SETTING, "may not be read: the event on a key of our own tells")
    lacking = missing(flags, waited_for)
    if not lacking:
        return Check(SETTING, flags)
    return _warning(SETTING, f"{flags!r} lacks {lacking}", f"CONFIG SET {SETTING} {flags}{lacking}")
