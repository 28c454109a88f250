"""The HTTP API: served by ``redis-retention serve`` and ``run --http``, or within an application.

>>> from redis.asyncio import Redis
>>> from redis_retention import Policy
>>> from redis_retention.http import retention_app
>>> app = retention_app(Redis(), Policy(keep_last=10))  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis_retention.policy import Policy
from redis_retention.transport import AsyncClient, Client

# What an application needs is imported when one is made: the daemon uses parts of this package
# without FastAPI, and few need Flask.
if TYPE_CHECKING:
    from flask import Blueprint
    from starlette.types import ASGIApp

__all__ = ["retention_app", "retention_blueprint"]


def retention_app(
    client: Client | AsyncClient,
    policy: Policy | None = None,
    *,
    token: str | None = None,
    read_only: bool = False,
    **options: Any,
) -> ASGIApp:
    """The HTTP API as an ASGI application, to be mounted into another one.

    Whoever reaches it can have checkpoints deleted: let the application ask its operators who
    they are, or give it a token.

    Args:
        client: A redis-py client of either kind, of the server (or cluster) on which the saver
            writes. The caller closes it.
        policy: What to keep where a request does not say it and no stored policy but the default
            matches; None for what the stored ones say.
        token: What those who call have to send, as ``Authorization: Bearer TOKEN``; None for
            nothing.
        read_only: Nothing may be changed.
        options: What `Retention` takes beside these, such as ``checkpoint_prefix``.
    """
    from redis_retention.http.access import Access
    from redis_retention.http.app import application
    from redis_retention.http.backend import Backend

    return application(Backend(client, policy, **options), Access(token, read_only))


def retention_blueprint(
    client: Client | AsyncClient,
    policy: Policy | None = None,
    *,
    name: str = "retention",
    url_prefix: str = "/retention",
    token: str | None = None,
    read_only: bool = False,
    **options: Any,
) -> Blueprint:
    """The HTTP API as a Flask blueprint: the same application, run under WSGI.

    Args:
        client: A redis-py client; see `retention_app`, also for what is not said here.
        policy: What to keep.
        name: What the blueprint is called.
        url_prefix: Below which path it answers.
        token: What those who call have to send.
        read_only: Nothing may be changed.
        options: What `Retention` takes beside these.
    """
    from redis_retention.http.wsgi import blueprint

    def app() -> ASGIApp:
        return retention_app(client, policy, token=token, read_only=read_only, **options)

    return blueprint(app, name, url_prefix)
