"""The API within other applications."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import flask
import httpx
import pytest
import redis
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server

from redis_retention import Policy, Retention
from redis_retention.http import retention_app, retention_blueprint
from redis_retention.http.paths import encoded
from tests.cli.conftest import documents, fill
from tests.daemon.service import eventually
from tests.http.test_paths import HOSTILE

PREFIX = "/ops/retention"


# --- ASGI ---------------------------------------------------------------------------------------


def _in_fastapi(app: Any) -> Any:
    outer = FastAPI()
    outer.mount(PREFIX, app)
    return outer


def _in_starlette(app: Any) -> Any:
    return Starlette(routes=[Mount("/ops", routes=[Mount("/retention", app)])])


def _by_hand(app: Any) -> Any:
    """As the frameworks do that strip the path."""

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"].removeprefix(PREFIX)
        await app({**scope, "root_path": PREFIX, "path": path}, receive, send)

    return outer


@pytest.fixture(params=[_in_fastapi, _in_starlette, _by_hand])
async def mounted(
    request: pytest.FixtureRequest, async_client: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A browser of an application that has the API below a prefix."""
    app = request.param(retention_app(async_client, Policy(keep_last=2)))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://example.org", follow_redirects=True
    ) as browser:
        yield browser


async def test_it_answers_below_a_prefix(mounted: httpx.AsyncClient, stack: redis.Redis) -> None:
    fill(stack, "a/b", 5)
    answer = await mounted.post(f"{PREFIX}/api/cleanup/thread/a%2Fb")
    assert answer.json()["checkpoints_deleted"] == 3
    assert (await mounted.get(f"{PREFIX}/healthz")).text == "ok\n"
    assert (await mounted.get(f"{PREFIX}/nothing")).status_code == 404


async def test_the_place_of_a_job_has_the_prefix(
    mounted: httpx.AsyncClient, stack: redis.Redis
) -> None:
    started = await mounted.post(f"{PREFIX}/api/cleanup/all")
    assert started.headers["location"].startswith(f"{PREFIX}/api/jobs/")
    assert (await mounted.get(started.headers["location"])).json()["id"] == started.json()["id"]


async def test_the_links_of_the_page_are_relative_to_its_folder(
    mounted: httpx.AsyncClient,
) -> None:
    assert (await mounted.get(PREFIX)).url.path == f"{PREFIX}/"


async def test_openapi_names_the_prefix(mounted: httpx.AsyncClient) -> None:
    said = (await mounted.get(f"{PREFIX}/openapi.json")).json()
    assert [one["url"] for one in said["servers"]] == [PREFIX]


# Starlette itself finds nothing below a prefix whose path has a line break in it.
MOUNTABLE = {name: thread for name, thread in HOSTILE.items() if b"\n" not in thread}


@pytest.mark.parametrize("thread", MOUNTABLE.values(), ids=MOUNTABLE.keys())
async def test_ids_below_a_prefix(async_client: Any, stack: redis.Redis, thread: bytes) -> None:
    Retention(stack).pin(thread, note="this one")
    app = _in_fastapi(retention_app(async_client))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost"
    ) as browser:
        answer = await browser.get(f"{PREFIX}/api/threads/{encoded(thread)}/pins")
    assert [pin["note"] for pin in answer.json()["pins"]] == ["this one"]


# --- Flask --------------------------------------------------------------------------------------


def in_flask(client: Any, **options: Any) -> flask.Flask:
    app = flask.Flask(__name__)
    app.register_blueprint(
        retention_blueprint(client, Policy(keep_last=2), url_prefix=PREFIX, **options)
    )
    return app


@pytest.fixture
def flask_browser(stack: redis.Redis) -> Any:
    return in_flask(stack).test_client()


def test_a_blueprint(flask_browser: Any, stack: redis.Redis) -> None:
    ids = fill(stack, "a/b", 5)
    answer = flask_browser.post(f"{PREFIX}/api/cleanup/thread/a%2Fb", json={"dry_run": True})
    assert answer.json["checkpoints_deleted"] == 3
    assert documents(stack, "a/b") == ids
    answer = flask_browser.post(f"{PREFIX}/api/cleanup/thread/a%2Fb")
    assert answer.json["checkpoints_deleted"] == 3
    assert documents(stack, "a/b") == ids[-2:]
    assert flask_browser.get(f"{PREFIX}/healthz").text == "ok\n"
    assert flask_browser.head(f"{PREFIX}/healthz").status_code == 200


def test_problems_of_a_blueprint(flask_browser: Any) -> None:
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("PATCH", "/api/policies", 405),
        ("OPTIONS", "/api/policies", 405),
        ("GET", "/api/threads?limit=x", 422),
    ):
        answer = flask_browser.open(PREFIX + path, method=method)
        assert answer.status_code == status
        assert answer.content_type == "application/problem+json"
    answer = flask_browser.post(f"{PREFIX}/api/cleanup/all", data={"a": "b"})
    assert answer.status_code == 415
    big = b" " * 70_000
    kind = "application/json"
    answer = flask_browser.post(f"{PREFIX}/api/cleanup/all", data=big, content_type=kind)
    assert answer.status_code == 413


def test_a_sweep_by_a_blueprint(flask_browser: Any, stack: redis.Redis) -> None:
    fill(stack, "a", 5)
    started = flask_browser.post(f"{PREFIX}/api/cleanup/all", json={})
    assert started.status_code == 202
    place = started.headers["Location"]
    eventually(lambda: flask_browser.get(place).json["status"] == "done")
    assert flask_browser.get(place).json["result"]["checkpoints_deleted"] == 3


def test_the_folder_of_the_page_in_flask(flask_browser: Any) -> None:
    assert flask_browser.get(PREFIX).headers["Location"].endswith(f"{PREFIX}/")


def test_access_to_a_blueprint(stack: redis.Redis) -> None:
    browser = in_flask(stack, token="a-token", read_only=True).test_client()
    assert browser.get(f"{PREFIX}/api/threads").status_code == 401
    headers = {"Authorization": "Bearer a-token"}
    assert browser.get(f"{PREFIX}/api/threads", headers=headers).status_code == 200
    assert browser.post(f"{PREFIX}/api/cleanup/all", headers=headers).status_code == 403


@pytest.mark.parametrize("thread", HOSTILE.values(), ids=HOSTILE.keys())
def test_ids_in_flask(flask_browser: Any, stack: redis.Redis, thread: bytes) -> None:
    Retention(stack).pin(thread, note="this one")
    answer = flask_browser.get(f"{PREFIX}/api/threads/{encoded(thread)}/pins")
    assert [pin["note"] for pin in answer.json["pins"]] == ["this one"]


@pytest.fixture
def wsgi() -> Iterator[Callable[[Any], Callable[..., tuple[int, str]]]]:
    """Serves WSGI applications by a real server."""
    servers = []

    def start(app: Any) -> Callable[..., tuple[int, str]]:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))

        def ask(method: str, target: str, body: Any = None, **headers: str) -> tuple[int, str]:
            connection = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
            connection.request(method, target, body, headers, encode_chunked=body is not None)
            answer = connection.getresponse()
            text = answer.read().decode()
            connection.close()
            return answer.status, text

        return ask

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_blueprint_below_another_application(wsgi: Any, stack: redis.Redis) -> None:
    outer = flask.Flask("outer")
    app = DispatcherMiddleware(outer, {"/deep": in_flask(stack)})
    ask = wsgi(app)
    for thread in (b"a/b", b"\xff//", "ü".encode()):
        Retention(stack).pin(thread, note="this one")
        status, text = ask("GET", f"/deep{PREFIX}/api/threads/{encoded(thread)}/pins")
        assert status == 200, text
        assert "this one" in text


def test_a_body_without_a_length_is_not_taken_for_none(wsgi: Any, stack: redis.Redis) -> None:
    ids = fill(stack, "a", 5)
    ask = wsgi(in_flask(stack))
    body = iter([b'{"dry_', b'run": true}'])
    chunked = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    ask("POST", f"{PREFIX}/api/cleanup/thread/a", body, **chunked)
    assert documents(stack, "a") == ids
