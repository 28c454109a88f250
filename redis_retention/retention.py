"""Keep the newest checkpoints of LangGraph threads in Redis, and delete the rest."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from redis_retention.engine import DEFAULT_KEYS_PER_CALL, DEFAULT_PREFIX
from redis_retention.layouts.names import AUTO, LayoutChoice, Prefixes
from redis_retention.operations import Operations
from redis_retention.policy import Policy
from redis_retention.sans_io import Operation, T
from redis_retention.served import DEFAULT_GRACE as DEFAULT_GRACE
from redis_retention.served import DEFAULT_MAX_STALL as DEFAULT_MAX_STALL
from redis_retention.served import Served
from redis_retention.transport import AsyncClient, AsyncTransport, Client, Transport

P = ParamSpec("P")
ClientT = TypeVar("ClientT")
Method = TypeVar("Method", bound=Callable[..., Any])


class _Retention(Generic[ClientT]):
    def __init__(
        self,
        client: ClientT,
        *,
        checkpoint_prefix: str = "checkpoint",
        write_prefix: str = "checkpoint_write",
        go_prefix: str = "langgraph:",
        zset_prefix: str = "checkpoint:",
        plain_prefix: str = "lg",
        layout: LayoutChoice = AUTO,
        prefix: str = DEFAULT_PREFIX,
        keys_per_call: int = DEFAULT_KEYS_PER_CALL,
        max_stall: timedelta | None = DEFAULT_MAX_STALL,
        grace: timedelta = DEFAULT_GRACE,
        policy: Policy | None = None,
        trigger: int | None = None,
        estimate_memory: bool = False,
    ) -> None:
        served = Served.chosen(
            layout,
            Prefixes(checkpoint_prefix, write_prefix, go_prefix, zset_prefix, plain_prefix),
            prefix=prefix,
            keys_per_call=keys_per_call,
            max_stall=max_stall,
            grace=grace,
            estimate_memory=estimate_memory,
        )
        self._client = client
        self._operations = Operations(served, policy, trigger)

    def use(self, policy: Policy | None, trigger: int | None = None) -> None:
        """Let another policy take the place of the stored default from now on."""
        self._operations.use(policy, trigger)


def _blocking(
    operation: Callable[Concatenate[Operations, P], Operation[T]],
) -> Callable[Concatenate[Retention, P], T]:
    """The method that runs an operation on a synchronous client."""

    @wraps(operation)
    def method(self: Retention, /, *args: P.args, **kwargs: P.kwargs) -> T:
        run = Transport(self._client).run
        return run(operation(self._operations, *args, **kwargs))

    return _signed(method)


def _awaitable(
    operation: Callable[Concatenate[Operations, P], Operation[T]],
) -> Callable[Concatenate[AsyncRetention, P], Coroutine[Any, Any, T]]:
    """The method that runs an operation on an asynchronous client."""

    @wraps(operation)
    async def method(self: AsyncRetention, /, *args: P.args, **kwargs: P.kwargs) -> T:
        run = AsyncTransport(self._client).run
        return await run(operation(self._operations, *args, **kwargs))

    return _signed(method)


def _signed(method: Method) -> Method:
    """Let `help` say that the method returns what its operation does, and no operation."""
    signature = inspect.signature(method)
    result = str(signature.return_annotation).removeprefix("Operation[").removesuffix("]")
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        return_annotation=result
    )
    return method


class Retention(_Retention[Client]):
    """Trims threads, with a synchronous client.

    Args:
        client: A redis-py client of the server (or cluster) on which the saver writes. The
            caller closes it.
        checkpoint_prefix: `RedisSaver`'s ``checkpoint_prefix``.
        write_prefix: `RedisSaver`'s ``checkpoint_write_prefix``.
        go_prefix: The ``Prefix`` of langgraphgo's store, with its colon.
        zset_prefix: What stands before the thread in the key of a sorted set of checkpoints.
        plain_prefix: The ``prefix`` of langgraph-checkpoint-plainredis.
        layout: Which storage formats to serve, by their names (docs/formats.md): one, or several;
            ``auto`` serves what there is.
        prefix: What all keys of our own begin with.
        keys_per_call: Keys that one call may delete at most while the server does nothing else.
        max_stall: For how long a call of a trim is to hold the server up: as many keys go by one
            call as it deletes in that time. None to let each delete `keys_per_call`.
        grace: How long a checkpoint is retained that no other has as its parent yet, and how long
            a thread must have been known to be idle before it expires.
        policy: What to keep where a call does not say it and no stored policy but the default
            matches: it takes the place of the stored default.
        trigger: The trigger that goes with it, for sweeps.
        estimate_memory: Estimate the memory that trims free, by some more calls of MEMORY USAGE.
    """

    trim = _blocking(Operations.trim)
    plan = _blocking(Operations.plan)
    sweep = _blocking(Operations.sweep)
    stats = _blocking(Operations.stats)
    largest = _blocking(Operations.largest)
    measure = _blocking(Operations.measure)
    set_policy = _blocking(Operations.set_policy)
    remove_policy = _blocking(Operations.remove_policy)
    policies = _blocking(Operations.policies)
    policies_for = _blocking(Operations.policies_for)
    pin = _blocking(Operations.pin)
    unpin = _blocking(Operations.unpin)
    pins = _blocking(Operations.pins)
    all_pins = _blocking(Operations.all_pins)


class AsyncRetention(_Retention[AsyncClient]):
    """Trims threads, with an asynchronous client; see `Retention`."""

    trim = _awaitable(Operations.trim)
    plan = _awaitable(Operations.plan)
    sweep = _awaitable(Operations.sweep)
    stats = _awaitable(Operations.stats)
    largest = _awaitable(Operations.largest)
    measure = _awaitable(Operations.measure)
    set_policy = _awaitable(Operations.set_policy)
    remove_policy = _awaitable(Operations.remove_policy)
    policies = _awaitable(Operations.policies)
    policies_for = _awaitable(Operations.policies_for)
    pin = _awaitable(Operations.pin)
    unpin = _awaitable(Operations.unpin)
    pins = _awaitable(Operations.pins)
    all_pins = _awaitable(Operations.all_pins)
