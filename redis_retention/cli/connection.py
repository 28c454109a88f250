"""The client that a command uses: made from the URL, a cluster's when the server is in one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import click
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import ResponseError
from redis.retry import Retry

from redis_retention.engine import DEFAULT_PREFIX
from redis_retention.layouts.names import AUTO, LayoutChoice, Prefixes
from redis_retention.operations.choice import NoPolicy
from redis_retention.pace import DEFAULT_KEYS_PER_CALL
from redis_retention.retention import DEFAULT_GRACE, DEFAULT_MAX_STALL, Retention
from redis_retention.served import Served
from redis_retention.transport import AsyncClient, Client

DEFAULT_URL = "redis://localhost:6379/0"

CONNECT_SECONDS = 5.0
# Who does not answer a greeting in this time is no Redis.
GREETING_SECONDS = 5.0
REPLY_SECONDS = 30.0
# A service that waits for long hears of nothing else.
SERVICE_REPLY_SECONDS = 5.0
RETRIES = 3

_NO_POLICY = (
    "say what to keep, with --keep-last, --keep-within, --keep-runs or --expire-threads-after, "
    "or store it with `redis-retention policy set`"
)
_DATABASE = re.compile(r"/?\d*/?")


@dataclass(slots=True)
class Settings:
    """The options that every command has.

    Attributes:
        url: Where the server is.
        layout: Which storage formats to serve; empty for all that there are.
        checkpoint_prefix: `RedisSaver`'s ``checkpoint_prefix``.
        write_prefix: `RedisSaver`'s ``checkpoint_write_prefix``.
        go_prefix: The ``Prefix`` of langgraphgo's store.
        zset_prefix: What stands before the thread in the key of a sorted set of checkpoints.
        plain_prefix: The ``prefix`` of langgraph-checkpoint-plainredis.
        prefix: What all keys of our own begin with.
        keys_per_call: Keys that one call may delete at most while the server does nothing else.
        max_stall: For how long a call of a trim is to hold the server up.
        grace: How long a checkpoint is retained that no other has as its parent yet.
        json: Print one JSON object and nothing else.
    """

    url: str = DEFAULT_URL
    layout: tuple[str, ...] = ()
    checkpoint_prefix: str = "checkpoint"
    write_prefix: str = "checkpoint_write"
    go_prefix: str = "langgraph:"
    zset_prefix: str = "checkpoint:"
    plain_prefix: str = "lg"
    prefix: str = DEFAULT_PREFIX
    keys_per_call: int = DEFAULT_KEYS_PER_CALL
    max_stall: timedelta = DEFAULT_MAX_STALL
    grace: timedelta = DEFAULT_GRACE
    json: bool = False

    @property
    def layouts(self) -> LayoutChoice:
        """Which storage formats to serve."""
        return self.layout or AUTO

    def only_layout(self) -> str | None:
        """The one storage format that something is stored for, None for all.

        Raises:
            click.UsageError: There are several.
        """
        if not self.layout or AUTO in self.layout:
            return None
        if len(self.layout) > 1:
            raise click.UsageError("a policy counts for one layout or for all: give --layout once")
        return self.layout[0]

    @property
    def prefixes(self) -> Prefixes:
        """What the keys of the savers begin with."""
        return Prefixes(
            self.checkpoint_prefix,
            self.write_prefix,
            self.go_prefix,
            self.zset_prefix,
            self.plain_prefix,
        )

    def of_retention(self) -> dict[str, Any]:
        """What `Retention` takes of these."""
        given = {**asdict(self), "layout": self.layouts}
        del given["url"], given["json"]
        return given

    def served(self, *, estimate_memory: bool = False) -> Served:
        """The storage formats that are served.

        Args:
            estimate_memory: Estimate the memory that trims free.
        """
        return Served.chosen(
            self.layouts,
            self.prefixes,
            prefix=self.prefix,
            keys_per_call=self.keys_per_call,
            max_stall=self.max_stall,
            grace=self.grace,
            estimate_memory=estimate_memory,
        )


pass_settings = click.make_pass_decorator(Settings, ensure=True)


def connect(url: str) -> Client:
    """A client of the server at `url`, which has answered.

    Dropped connections are made anew, with pauses in between: whatever is asked for can be asked
    for twice.

    Raises:
        click.UsageError: The URL is none.
        redis.exceptions.RedisError: The server cannot be reached, or refuses.
    """
    check_url(url)
    try:
        in_cluster = _greet(url).get(b"mode") == b"cluster"
        if in_cluster:
            return redis.RedisCluster.from_url(url, **_options())
        return redis.Redis.from_url(url, **_options())
    except (TypeError, ValueError) as error:
        raise _wrong_url(str(error)) from error


def is_cluster(url: str) -> bool:
    """Ask the server, which also shows that it can be reached at all."""
    client = connect(url)
    client.close()
    return isinstance(client, redis.RedisCluster)


def async_client(
    url: str, in_cluster: bool, *, retries: int = 0, reply_seconds: float = SERVICE_REPLY_SECONDS
) -> AsyncClient:
    """A client that answers bytes.

    Args:
        url: Where the server is.
        in_cluster: Whether it is one of a cluster.
        retries: How often to try again by itself what a broken connection has prevented: a
            service knows best what to try again, and when.
        reply_seconds: How long to wait for a reply.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": reply_seconds,
        "socket_keepalive": True,
        "retry": AsyncRetry(NoBackoff(), retries),
    }
    if in_cluster:
        return redis.asyncio.RedisCluster.from_url(url, **options)
    return redis.asyncio.Redis.from_url(url, **options)


def database_of(client: AsyncClient) -> int:
    """The number of the database; a cluster has but one."""
    if isinstance(client, redis.asyncio.RedisCluster):
        return 0
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def check_url(url: str) -> None:
    """Refuse what is no URL, and what redis-py would silently read as another one.

    Raises:
        click.UsageError: The URL is wrong.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _wrong_url("its host or port cannot be read") from error
    if port == 0:
        raise _wrong_url("its port is 0")
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise _wrong_url("it must begin with redis://, rediss:// or unix://")
    if parts.fragment:
        raise _wrong_url("a # in a password is written %23")
    if parts.scheme != "unix" and not _DATABASE.fullmatch(parts.path):
        raise _wrong_url("what follows the port must be the number of a database")


def _wrong_url(why: str) -> click.UsageError:
    return click.UsageError(
        f"the URL of the server is wrong: {why}; it looks like "
        "redis://[[user]:password@]host[:port][/database]"
    )


def _options() -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": REPLY_SECONDS,
        # A server that keeps silent is not asked again: it would take minutes to give up.
        "retry": Retry(ExponentialBackoff(cap=1, base=0.1), RETRIES, (ConnectionFailed,)),
    }


def _greet(url: str) -> dict[Any, Any]:
    """What the server says of itself; nothing when it does not know the command."""
    options = _options() | {"socket_timeout": GREETING_SECONDS, "retry": Retry(NoBackoff(), 0)}
    with redis.Redis.from_url(url, **options) as client:
        try:
            greeting: Any = client.execute_command("HELLO")
        except ResponseError as error:
            if "unknown command" not in str(error).lower():
                raise
            return {}
    if isinstance(greeting, dict):
        return {_bytes(name): _bytes(value) for name, value in greeting.items()}
    return dict(zip(*[iter(map(_bytes, greeting))] * 2, strict=False))


def _bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


@contextmanager
def retention(settings: Settings) -> Iterator[Retention]:
    """What trims the threads on the server of the settings.

    Raises:
        click.UsageError: Nothing says what to keep.
    """
    client = connect(settings.url)
    try:
        yield Retention(client, **settings.of_retention())
    except NoPolicy as error:
        raise click.UsageError(f"{error}: {_NO_POLICY}") from error
    finally:
        close(client)


def close(client: Any) -> None:
    """Close a client and its connections, of which a cluster's `close` leaves some open."""
    in_cluster = isinstance(client, redis.RedisCluster)
    client.close()
    if in_cluster:
        client.disconnect_connection_pools()
