"""The page as an operator uses it: a real browser, a real service, a real server."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver
from playwright.sync_api import Page, Route, expect

from redis_retention import Policy, Retention
from tests.cli.conftest import fill
from tests.conftest import real_server
from tests.daemon.conftest import service
from tests.daemon.service import Service
from tests.daemon.writers import Writer, ids
from tests.page.conftest import Opened, Serve
from tests.servers.start import Server

__all__ = ["service"]

TEN = Policy(keep_last=10)
HOSTILE = {
    "markup": "<img src=x onerror=\"document.title='broken'\">",
    "path": "a/b?c=d#e%2F;.. &",
    "lines and directions": "two\nlines \u202ereversed",
    "long": "x" * 2_000,
}


@pytest.fixture(scope="module")
def written() -> tuple[dict[bytes, bytes], Writer]:
    """All keys of two threads that a saver has written, both in their indexes."""
    with real_server("redis-stack").client() as client:
        client.flushall()
        writer = Writer(client, ["support-4711", "dora"])
        writer.write(13)
        for _ in range(23):
            writer.step("support-4711")
        Retention(client).sweep(Policy(keep_last=1000))
        return {key: client.dump(key) for key in client.scan_iter()}, writer


@pytest.fixture
def threads(stack: redis.Redis, written: tuple[dict[bytes, bytes], Writer]) -> Writer:
    """The two threads; what their writer has noted of them."""
    keys, writer = written
    RedisSaver(redis_client=stack).setup()
    with stack.pipeline(transaction=False) as pipeline:
        for key, value in keys.items():
            pipeline.restore(key, 0, value)
        pipeline.execute()
    return writer


@pytest.fixture
def page(opened: Opened, serve: Serve, threads: Writer) -> Page:
    """The page, with the larger thread chosen."""
    page = opened(serve(TEN))
    expect(page.locator("#thread-title")).to_have_text("support-4711")
    expect(page.locator(".line").first).to_be_visible()
    return page


def row(page: Page, thread: str) -> Any:
    return page.locator("#threads tbody tr", has=page.get_by_role("link", name=thread, exact=True))


def test_threads_are_listed_with_bars_by_their_size(page: Page) -> None:
    rows = page.locator("#threads tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first.locator("td").nth(1)).to_have_text("36")
    widths = [
        float(bar.evaluate("one => parseFloat(one.style.width)"))
        for bar in rows.locator(".meter i").all()
    ]
    assert widths[0] == 100
    assert 10 < widths[1] < 60
    expect(page.locator("#checkpoints .value")).to_have_text("49 in 2 threads")
    samples = page.request.get(f"{page.url}api/history").json()["samples"]
    shown = {f"{sample['memory'] / 1e6:.1f} MB in use by Redis" for sample in samples}
    assert page.locator("#memory .value").inner_text() in shown


def test_a_plan_is_a_timeline_of_what_is_retained_and_why(page: Page) -> None:
    expect(page.locator("#plan .summary")).to_contain_text(
        re.compile("retains 10 checkpoints and deletes 26, with [0-9]+ keys and about")
    )
    strip = page.locator(".strip svg")
    expect(strip.locator("circle.mark-kept")).to_have_count(10)
    expect(strip.locator("path.mark-gone")).to_have_count(26)
    newest = page.locator(".line > li").first
    expect(newest).to_contain_text("step 35")
    expect(newest.locator(".chip")).to_have_text(["last", "latest"])
    folded = page.locator(".line > li", has_text="26 to be deleted")
    folded.locator("summary").click()
    expect(folded.locator(".line > li")).to_have_count(26)
    expect(page.locator(".meanings")).to_contain_text("LangGraph resumes from it")


def test_a_trim_says_what_it_deletes_and_then_deletes_that(page: Page, stack: redis.Redis) -> None:
    page.locator("#trim").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("26 checkpoints will be deleted")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert len(ids(stack, "support-4711")) == 36

    page.locator("#trim").click()
    dialog.get_by_role("button", name="Delete 26 checkpoints").click()
    expect(page.locator("#said")).to_contain_text("Deleted 26 checkpoints")
    assert len(ids(stack, "support-4711")) == 10
    assert len(ids(stack, "dora")) == 13
    expect(page.locator("#plan .summary")).to_contain_text("All 10 checkpoints would be retained")
    past = page.locator("#trims tbody tr")
    expect(past).to_have_count(1)
    expect(past).to_contain_text("support-4711")
    expect(past.locator(".number").last).to_have_text(re.compile("kB"))
    expect(page.locator("#freed .value")).to_contain_text("with 26 checkpoints")


def test_a_preview_decides_what_a_trim_retains(page: Page, stack: redis.Redis) -> None:
    page.get_by_label("Keep the newest").fill("3")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#plan .summary")).to_contain_text("retains 3 checkpoints and deletes 33")
    page.locator("#trim").click()
    page.get_by_role("button", name="Delete 33 checkpoints").click()
    expect(page.locator("#said")).to_contain_text("Deleted 33")
    assert len(ids(stack, "support-4711")) == 3


def test_a_checkpoint_is_pinned_and_unpinned(
    page: Page, stack: redis.Redis, threads: Writer
) -> None:
    page.locator("summary").click()
    button = page.get_by_role("button", name="Pin step 20")
    button.click()
    page.get_by_label("Why").fill("the complaint")
    page.get_by_role("dialog").get_by_role("button", name="Pin", exact=True).click()
    expect(page.locator(".chip", has_text="pinned: the complaint")).to_be_visible()
    [pin] = Retention(stack).pins("support-4711")
    assert (pin.checkpoint_id, pin.note) == (threads.written["support-4711"][20], "the complaint")
    expect(page.locator("#plan .summary")).to_contain_text("deletes 25")

    page.get_by_role("button", name="Unpin step 20").click()
    expect(page.get_by_role("dialog")).to_contain_text("the next trim deletes it")
    page.get_by_role("dialog").get_by_role("button", name="Unpin").click()
    expect(page.locator("#plan .summary")).to_contain_text("deletes 26")
    assert Retention(stack).pins("support-4711") == []


def test_a_thread_is_pinned(page: Page, stack: redis.Redis) -> None:
    page.get_by_role("button", name="Pin thread").click()
    page.get_by_role("dialog").get_by_role("button", name="Pin", exact=True).click()
    expect(page.locator("#plan")).to_contain_text("The whole thread is pinned")
    expect(page.locator("#plan .summary")).to_contain_text("All 36 checkpoints")
    assert [pin.checkpoint_id for pin in Retention(stack).pins("support-4711")] == [None]


def test_policies_are_stored_changed_and_removed(
    page: Page, stack: redis.Redis, complaints: list[str]
) -> None:
    card = page.locator("#policies")
    expect(card).to_contain_text("No policy is stored")
    card.get_by_role("button", name="Add").click()
    page.get_by_label("Threads (a glob").fill("user-*")
    page.get_by_label("What is younger than").fill("7d")
    page.get_by_label("Expire idle threads after").fill("soon")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("dialog input:invalid")).to_have_value("soon")
    page.get_by_label("Expire idle threads after").fill("90d")
    page.get_by_label("Keep the newest").last.fill("5")
    page.get_by_label("Trim by itself above").fill("3")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("The trigger, 3, must not be less")
    complaints.clear()
    page.get_by_label("Trim by itself above").fill("")
    page.get_by_label("Keep the newest").last.fill("")
    page.get_by_role("button", name="Save").click()
    expect(card).to_contain_text("younger than 1w; threads expire after 90d")

    card.get_by_role("button", name="Change the policy of user-*").click()
    page.get_by_role("dialog").get_by_label("Keep the newest").fill("5")
    page.get_by_role("button", name="Save").click()
    expect(card).to_contain_text("the newest 5, what is younger than 1w")
    [rule] = Retention(stack).policies()
    assert rule.policy.keep_last == 5

    card.get_by_role("button", name="Remove the policy of user-*").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(card).to_contain_text("No policy is stored")
    assert Retention(stack).policies() == []


def test_all_threads_are_counted_before_they_are_trimmed(
    opened: Opened, serve: Serve, threads: Writer, stack: redis.Redis
) -> None:
    page = opened(serve(TEN))
    page.get_by_role("button", name="Trim all threads").click()
    page.get_by_role("button", name="Begin").click()
    expect(page.locator("#said")).to_contain_text("Would delete 29 checkpoints of 2 threads")
    assert len(ids(stack, "dora")) == 13
    page.get_by_role("button", name="Trim all threads").click()
    page.get_by_label("Only count").uncheck()
    page.get_by_role("button", name="Begin").click()
    expect(page.locator("#said")).to_contain_text("Deleted 29 checkpoints of 2 threads")
    assert (len(ids(stack, "dora")), len(ids(stack, "support-4711"))) == (10, 10)


def test_threads_are_paged_sorted_and_found(
    opened: Opened, serve: Serve, stack: redis.Redis
) -> None:
    for number in range(30):
        fill(stack, f"user-{number:02}", 1)
    Retention(stack).sweep(Policy(keep_last=1000))
    page = opened(serve(TEN))
    page.get_by_text("by checkpoints").click()
    links, pager = page.locator("#threads .link"), page.locator("#threads .pager span")
    expect(links.first).to_have_text("user-29")
    expect(links).to_have_count(12)
    expect(pager).to_have_text(re.compile("^1.12 of 30$"))
    page.get_by_role("button", name="Smaller").click()
    expect(pager).to_have_text(re.compile("^13.24 of 30$"))
    page.get_by_role("button", name="Smaller").click()
    expect(pager).to_have_text(re.compile("^25.30 of 30$"))
    expect(page.get_by_role("button", name="Smaller")).to_be_disabled()
    page.get_by_role("button", name="Larger").click()
    expect(links.first).to_have_text("user-17")
    page.get_by_role("searchbox").fill("r-1")
    expect(links).to_have_text([f"user-{number}" for number in range(19, 9, -1)])
    page.get_by_role("searchbox").fill("*")
    expect(page.locator("#threads")).to_contain_text("No indexed thread has that in its id")


@pytest.mark.parametrize("kind", HOSTILE)
def test_ids_are_shown_as_text_and_sent_byte_for_byte(
    opened: Opened, serve: Serve, stack: redis.Redis, kind: str
) -> None:
    thread = HOSTILE[kind]
    fill(stack, thread, 12)
    fill(stack, "neighbour", 13)
    Retention(stack).sweep(Policy(keep_last=1000))
    page = opened(serve(TEN), viewport={"width": 360, "height": 740})
    link = page.locator("#threads .link:not([href$=neighbour])")
    assert link.text_content() == thread
    link.click()
    expect(page.locator("#thread-title")).to_be_focused()
    assert page.locator("#thread-title").text_content() == thread
    page.locator("#trim").click()
    page.get_by_role("button", name="Delete 2 checkpoints").click()
    expect(page.locator("#said")).to_contain_text("Deleted 2 checkpoints")
    assert len(Retention(stack).plan(thread, TEN).checkpoints) == 10
    assert len(Retention(stack).plan("neighbour", TEN).checkpoints) == 13
    assert page.title() == "redis-retention"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_id_that_is_no_text_is_sent_byte_for_byte(
    opened: Opened, serve: Serve, stack: redis.Redis
) -> None:
    thread = b"\xff\xfe odd/"
    stack.zadd(b"retention:index:checkpoint:" + thread, {b"s\0" + b"1ef00000": 0})
    page = opened(serve(TEN))
    expect(page.locator("#threads .link")).to_have_text("\ufffd\ufffd odd/")
    page.get_by_role("button", name="Pin thread").click()
    page.get_by_role("dialog").get_by_role("button", name="Pin", exact=True).click()
    expect(page.locator("#plan")).to_contain_text("The whole thread is pinned")
    assert list(Retention(stack).all_pins()) == [thread]


def test_a_link_of_somebody_else_leads_to_no_other_route(
    opened: Opened, serve: Serve, stack: redis.Redis
) -> None:
    asked: list[str] = []
    address = serve(TEN)
    page = opened(
        f"{address}#thread/a/../../cleanup/all?x=1",
        before=lambda page: page.on("request", lambda request: asked.append(request.url)),
    )
    expect(page.locator("#thread-title")).to_have_text("a/../../cleanup/all?x=1")
    expect(page.locator("#plan .summary")).to_contain_text("Its index knows no checkpoints")
    [pins] = [url for url in asked if url.endswith("/pins")]
    assert pins == f"{address}api/threads/a%2F..%2F..%2Fcleanup%2Fall%3Fx%3D1/pins"


def test_a_name_that_no_browser_can_send_is_said_to_be_one(
    opened: Opened, serve: Serve, stack: redis.Redis
) -> None:
    page = opened(f"{serve(TEN)}#thread/..")
    expect(page.get_by_role("alert")).to_contain_text(
        "no browser can send the name ..", ignore_case=True
    )


def test_a_thread_that_no_index_knows_is_looked_for(
    opened: Opened, serve: Serve, redis_stack: Server, stack: redis.Redis
) -> None:
    Writer(redis_stack.client(), ["new"]).write(12)
    page = opened(serve(TEN))
    page.get_by_role("searchbox").fill("new")
    page.get_by_role("button", name="exactly this id").click()
    page.get_by_role("button", name="Look for them").click()
    expect(page.locator("#plan .summary")).to_contain_text("deletes 2")


def test_a_read_only_service_has_no_buttons_that_change_something(
    opened: Opened, serve: Serve, threads: Writer
) -> None:
    page = opened(serve(TEN, read_only=True))
    expect(page.locator(".line").first).to_be_visible()
    expect(page.get_by_text("read-only")).to_be_visible()
    page.locator("summary").click()
    buttons = [one.inner_text() for one in page.get_by_role("button").all() if one.is_visible()]
    assert sorted(buttons) == sorted(["← Larger", "Preview", "Smaller →"])


def test_a_token_is_asked_for_and_kept_in_the_tab(
    opened: Opened, serve: Serve, threads: Writer, complaints: list[str]
) -> None:
    page = opened(serve(TEN, token="open sesame"), loaded=False)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("asks for a token")
    expect(page.locator("#threads tbody tr")).to_have_count(0)
    field = page.get_by_role("textbox", name="Token")
    field.fill("guessed")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("That was not the token")
    field.fill("open sesame")
    page.keyboard.press("Enter")
    expect(page.locator("#threads tbody tr")).to_have_count(2)
    page.reload()
    expect(page.locator("#threads tbody tr")).to_have_count(2)
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Forget the token").click()
    expect(dialog).to_contain_text("asks for a token")
    assert complaints
    assert all("401" in one for one in complaints)
    complaints.clear()


def test_everything_is_reached_by_the_keyboard(page: Page, stack: redis.Redis) -> None:
    def press(*keys: str) -> None:
        for key in keys:
            page.keyboard.press(key)

    focused = page.locator(":focus")
    press("Tab")
    expect(focused).to_have_text("Go to the threads")
    press("Enter", "Tab")
    expect(focused).to_have_attribute("value", "bytes")
    press("ArrowRight")
    expect(focused).to_have_attribute("value", "checkpoints")
    press("Tab", "Tab", "Tab")
    expect(focused).to_have_text("dora")
    expect(page.locator("#threads tr", has=focused)).to_have_css("outline-style", "solid")
    press("Enter")
    expect(page.locator("#plan .summary")).to_contain_text("deletes 3")
    page.locator("#after").focus()
    press("Tab", "Tab")
    expect(focused).to_have_text("Trim now…")
    expect(focused).to_have_css("outline-style", "solid")
    press("Enter")
    expect(focused).to_have_text("Cancel")
    expect(page.get_by_role("dialog")).to_contain_text("3 checkpoints will be deleted")
    press("Escape")
    expect(focused).to_have_text("Trim now…")
    press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("3 checkpoints will be deleted")
    press("Tab", "Enter")
    expect(page.locator("#said")).to_contain_text("Deleted 3 checkpoints")
    assert len(ids(stack, "dora")) == 10


def test_values_of_a_chart_are_read_by_the_keyboard(
    opened: Opened, serve: Serve, threads: Writer
) -> None:
    def with_a_past(route: Route) -> None:
        history = route.fetch().json()
        *_, sample = history["samples"]
        past = {**sample, "memory": 1_000, "time": "2026-01-01T10:00:00Z"}
        route.fulfill(json={**history, "samples": [past, sample]})

    page = opened(serve(TEN), before=lambda page: page.route("**/api/history", with_a_past))
    value = page.locator("#memory .value")
    page.locator("#memory svg").focus()
    page.keyboard.press("ArrowRight")
    expect(value).to_contain_text("1.0 kB at")
    page.keyboard.press("End")
    expect(value).to_contain_text("MB at")
    page.keyboard.press("Tab")
    expect(value).to_contain_text("in use by Redis")


def test_light_and_dark_are_what_the_system_says(
    opened: Opened, serve: Serve, threads: Writer
) -> None:
    address = serve(TEN)
    light, dark = (opened(address, color_scheme=scheme) for scheme in ("light", "dark"))
    assert light.screenshot() != dark.screenshot()
    brightness = "sum => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert sum(light.evaluate(brightness)) > 3 * 200
    assert sum(dark.evaluate(brightness)) < 3 * 60


def test_nothing_moves_once_it_is_shown(opened: Opened, serve: Serve, threads: Writer) -> None:
    page = opened(serve(TEN))
    expect(page.locator(".line").first).to_be_visible()
    moved = page.evaluate(
        """() => new Promise((resolve) => {
            const sum = (list) => list.getEntries().reduce((sum, one) => sum + one.value, 0);
            const observer = new PerformanceObserver((list) => resolve(sum(list)));
            observer.observe({ type: 'layout-shift', buffered: true });
            setTimeout(() => resolve(0), 500);
        })"""
    )
    assert moved < 0.1


def test_what_goes_wrong_is_said_in_plain_words(
    opened: Opened, serve: Serve, threads: Writer, complaints: list[str]
) -> None:
    page = opened(serve())
    expect(page.locator("#plan .summary")).to_contain_text("say what to keep")
    page.get_by_label("Keep the newest").fill("10")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#plan .summary")).to_contain_text("deletes 26")
    page.context.set_offline(True)
    page.get_by_role("searchbox").fill("d")
    expect(page.get_by_role("alert")).to_contain_text("The service cannot be reached")
    page.context.set_offline(False)
    page.get_by_role("alert").get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(row(page, "dora")).to_be_visible()
    complaints.clear()


def test_below_a_path_of_an_application(opened: Opened, serve: Serve, threads: Writer) -> None:
    page = opened(f"{serve(TEN, below='/operations/retention')}/")
    expect(page.locator("#threads tbody tr")).to_have_count(2)
    expect(page.locator("#plan .summary")).to_contain_text("deletes 26")


def test_beside_the_daemon_it_says_how_that_is(
    service: Callable[..., Service],
    opened: Opened,
    redis_stack: Server,
    stack: redis.Redis,
) -> None:
    options = ("--keep-last", "10", "--trigger", "30", "--http", "127.0.0.1:0")
    running = service(redis_stack, *options)
    port = running.wait_for("serving the HTTP API")["port"]
    running.wait_for("swept")
    Writer(redis_stack.client(), ["dora"]).write(35)
    running.wait_for("trimmed")
    page = opened(f"http://127.0.0.1:{port}/")
    expect(page.locator("#state")).to_contain_text(re.compile("Listening · swept [0-9]+ s ago"))
    expect(page.locator("#service")).to_contain_text("Checkpoints deleted")
    expect(page.locator("#trims tbody tr").last).to_contain_text("dora")
    expect(page.locator("#policies")).to_contain_text("No policy is stored")
