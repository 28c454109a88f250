"""Options that several commands share, with the same names everywhere."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import click

from redis_retention.cli.connection import DEFAULT_URL, Settings
from redis_retention.engine import DEFAULT_PREFIX
from redis_retention.layouts.names import LAYOUT_NAMES, UnknownLayout, check_layout_name
from redis_retention.pace import (
    DEFAULT_KEYS_PER_CALL,
    DEFAULT_MAX_STALL_MS,
    LARGEST_KEYS_PER_CALL,
    SMALLEST_KEYS_PER_CALL,
)
from redis_retention.policy import InvalidPolicy, stated_policy
from redis_retention.wording import read_span

Function = TypeVar("Function", bound=Callable[..., Any])

_SIZES = {
    **{"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9},
    **{"kib": 2**10, "mib": 2**20, "gib": 2**30},
}
_STALL = re.compile(r"(\d{1,5}(?:\.\d{1,3})?)ms", re.ASCII)
_SIZE = re.compile(r"(\d{1,18})((?:[kmg]i?)?b|)", re.ASCII | re.IGNORECASE)


def as_span(value: str) -> timedelta:
    """A time, see `read_span`."""
    try:
        return read_span(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def as_size(value: str) -> int:
    """Bytes: a whole number, and a unit where it is none of bytes, as in ``500kB`` or ``1MB``."""
    read = _SIZE.fullmatch(value)
    if not read or not int(read[1]):
        raise click.BadParameter(f"{value!r} is not a size such as 500kB, 1MB or 2MiB.")
    return int(read[1]) * _SIZES[read[2].lower()]


def as_grace(value: str) -> timedelta:
    """A time like that of `as_span`, or none at all: ``0s``."""
    return timedelta(0) if value == "0s" else as_span(value)


def as_stall(value: str) -> timedelta:
    """Milliseconds for which the server may be held up, as in ``1ms`` or ``0.5ms``."""
    read = _STALL.fullmatch(value)
    if not read or not float(read[1]):
        raise click.BadParameter(f"{value!r} is not a time such as 1ms or 0.5ms.")
    return timedelta(milliseconds=float(read[1]))


def as_bytes(value: str | bytes) -> bytes:
    """An argument byte for byte as the shell has given it."""
    return os.fsencode(value)


def not_empty(value: str) -> str:
    """A text that is not empty."""
    if not value:
        raise click.BadParameter("It must not be empty.")
    return value


class LayoutName(click.ParamType):  # type: ignore[type-arg]
    """The name of a storage format; several in the environment are parted by semicolons."""

    name = "layout"
    envvar_list_splitter = ";"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, if there is such a format."""
        try:
            return check_layout_name(value)
        except UnknownLayout as error:
            self.fail(str(error), param, ctx)


COUNT = click.IntRange(min=1)


def together(*options: Callable[..., Any]) -> Callable[[Function], Function]:
    """Several options as one decorator, in the order in which the help shows them."""

    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


_GLOBAL: dict[str, dict[str, Any]] = {
    "url": {"help": f"The server.  [default: {DEFAULT_URL}]", "metavar": "URL"},
    "layout": {
        "help": f"Whose checkpoints to serve: {', '.join(LAYOUT_NAMES)}. May be given several "
        "times.  [default: auto, what there is]",
        "type": LayoutName(),
        "multiple": True,
        "metavar": "NAME",
    },
    "checkpoint-prefix": {
        "help": "RedisSaver's checkpoint_prefix.  [default: checkpoint]",
        "type": not_empty,
        "metavar": "TEXT",
    },
    "write-prefix": {
        "help": "RedisSaver's checkpoint_write_prefix.  [default: checkpoint_write]",
        "type": not_empty,
        "metavar": "TEXT",
    },
    "go-prefix": {
        "help": "The Prefix of langgraphgo's store, with its colon.  [default: langgraph:]",
        "type": not_empty,
        "metavar": "TEXT",
    },
    "zset-prefix": {
        "help": "What stands before the thread in the key of a sorted set of checkpoints.  "
        "[default: checkpoint:]",
        "type": not_empty,
        "metavar": "TEXT",
    },
    "plain-prefix": {
        "help": "The prefix of langgraph-checkpoint-plainredis.  [default: lg]",
        "type": not_empty,
        "metavar": "TEXT",
    },
    "prefix": {
        "help": f"What our own keys begin with.  [default: {DEFAULT_PREFIX}]",
        "type": not_empty,
        "metavar": "TEXT",
    },
    "keys-per-call": {
        "help": "Keys that one call may delete at most while the server does nothing else.  "
        f"[default: {DEFAULT_KEYS_PER_CALL}]",
        "type": click.IntRange(SMALLEST_KEYS_PER_CALL, LARGEST_KEYS_PER_CALL),
        "metavar": "N",
    },
    "max-stall": {
        "help": "How long one call of a trim may hold the server up, about: it deletes as many "
        f"keys as the server can in that time.  [default: {DEFAULT_MAX_STALL_MS:g}ms]",
        "type": as_stall,
        "metavar": "MS",
    },
    "grace": {
        "help": "How long a checkpoint is retained that no other has as its parent yet: it may be "
        "about to become the latest.  [default: 1m]",
        "type": as_grace,
        "metavar": "TIME",
    },
    "json": {
        "help": "Print one JSON object and nothing else.",
        "is_flag": True,
        "default": None,
    },
}


def global_options(*names: str, from_environment: bool = False) -> Callable[[Function], Function]:
    """The options of the program. Commands have them too, so that they may stand anywhere.

    Args:
        names: Which of them; all when none is named.
        from_environment: Take those that are not given from the environment.
    """

    def option(name: str) -> Callable[..., Any]:
        variable = f"REDIS_RETENTION_{name.upper().replace('-', '_')}"
        return click.option(
            f"--{name}",
            expose_value=False,
            callback=_remember,
            envvar=variable if from_environment else None,
            show_envvar=True,
            **_GLOBAL[name],
        )

    return together(*map(option, names or _GLOBAL))


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    settings = ctx.ensure_object(Settings)
    if value not in (None, ()) and param.name is not None:
        setattr(settings, param.name, value)


def policy_options(function: Function) -> Function:
    """What to keep; the function gets a `Policy`, or None when none of the options is given."""

    @click.option("--keep-last", metavar="N", type=COUNT, help="Keep the newest N checkpoints.")
    @click.option(
        "--keep-within", metavar="TIME", type=as_span, help="Keep what is younger, e.g. 12h, 7d."
    )
    @click.option(
        "--keep-runs",
        metavar="N",
        type=COUNT,
        help="Keep the final checkpoint of each of the newest N runs.",
    )
    @click.option(
        "--expire-threads-after",
        metavar="TIME",
        type=as_span,
        help="Delete threads in which nothing has happened for so long, unless they wait for a "
        "human. Alone, it deletes nothing else.",
    )
    @click.option(
        "--expire-waiting", is_flag=True, help="Also delete such threads if they wait for a human."
    )
    @functools.wraps(function)
    def with_policy(
        *arguments: Any,
        keep_last: int | None,
        keep_within: timedelta | None,
        keep_runs: int | None,
        expire_threads_after: timedelta | None,
        expire_waiting: bool,
        **options: Any,
    ) -> Any:
        try:
            given = stated_policy(
                keep_last=keep_last,
                keep_within=keep_within,
                keep_runs=keep_runs,
                expire_after=expire_threads_after,
                expire_waiting=expire_waiting,
            )
        except InvalidPolicy as error:
            # Here click still knows the command, whose --help the error names.
            raise click.UsageError(str(error)) from error
        return function(*arguments, policy=given, **options)

    return with_policy  # type: ignore[return-value]


trigger_option = click.option(
    "--trigger",
    metavar="M",
    type=COUNT,
    help="Trim a thread by itself when it has more than M checkpoints.",
)

warn_checkpoint_bytes_option = click.option(
    "--warn-checkpoint-bytes",
    metavar="SIZE",
    type=as_size,
    help="Count and name checkpoints that are larger, e.g. 1MB.",
)


def look_in_options(function: Function) -> Function:
    """Where to look for the keys of threads; the function gets a `LookIn`."""

    @click.option(
        "--indexed-only",
        is_flag=True,
        help="Trust the index. What it does not know is retained.",
    )
    @click.option(
        "--scan",
        is_flag=True,
        help="Look at the whole database, to find also orphans that no index names.",
    )
    @functools.wraps(function)
    def with_look_in(*arguments: Any, indexed_only: bool, scan: bool, **options: Any) -> Any:
        if indexed_only and scan:
            raise click.UsageError("--indexed-only and --scan do not go together")
        look_in = "index" if indexed_only else "scan" if scan else "auto"
        return function(*arguments, look_in=look_in, **options)

    return with_look_in  # type: ignore[return-value]


dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Change nothing, and say what would be deleted."
)
