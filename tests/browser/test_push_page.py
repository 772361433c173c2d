"""Notifications of a browser: allowed by a click, pushed while nobody looks, and shown by the service worker.

A browser under test can't subscribe: its push service is on the internet. The subscription is that of the double, and what
the server pushed is delivered over the browser's debugging protocol, decrypted.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect

from push.doubles.webpush import PushService, Subscription
from tests.browser.visitor import Visitor
from tests.conftest import Served, ServerFactory, eventually
from tests.support.guard import HANG_SECONDS
from tests.support.pushing import quiet

SUBSCRIBED = """([endpoint, keys]) => {
  const key = Uint8Array.from(atob(keys.vapid.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));
  const subscription = {
    endpoint, options: { applicationServerKey: key.buffer },
    toJSON: () => ({ endpoint, expirationTime: null, keys: { p256dh: keys.p256dh, auth: keys.auth } }),
    unsubscribe: async () => { window.unsubscribed = true; return true; },
  };
  let known = null;
  PushManager.prototype.subscribe = async (options) => {
    if (options.applicationServerKey !== keys.vapid || !options.userVisibleOnly) throw new Error("other options");
    known = subscription;
    return known;
  };
  PushManager.prototype.getSubscription = async () => known;
}"""


@pytest.fixture
async def server(start: ServerFactory, service: PushService, tmp_path: Path) -> Served:
    return await start(**service.write_files(tmp_path / "browsers"))


async def subscribable(visitor: Visitor, server: Served, service: PushService) -> Subscription:
    """Let the page of a visitor subscribe to the double."""
    person = await server.people.make()
    key = (await person.get("/api/v1/push/config")).json["data"]["vapidPublicKey"]
    subscription = service.subscribe("google", key)
    keys = subscription.body["keys"] | {"vapid": key}
    script = f"({SUBSCRIBED})({json.dumps([subscription.endpoint, keys])})"
    await visitor.context.grant_permissions(["notifications"], origin=server.url)
    await visitor.context.add_init_script(script)
    return subscription


async def turned_on(browser: Browser, server: Served, service: PushService) -> tuple[Visitor, Page]:
    """Bob, who has turned notifications on."""
    visitor = await Visitor.come(browser, server.url)
    await subscribable(visitor, server, service)
    await visitor.register("Bob")
    await visitor.page.click('.rail a[href="#/settings"]')
    await visitor.page.click('button:has-text("Show notifications on this device")')
    await expect(visitor.page.locator('button:has-text("Stop notifications on this device")')).to_have_count(1)
    return visitor, visitor.page


async def deliver(visitor: Visitor, server: Served, message: dict[str, Any]) -> None:
    """Let the browser have what the push service received."""
    cdp = await visitor.context.new_cdp_session(visitor.page)
    found: list[str] = []
    cdp.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda event: found.extend(each["registrationId"] for each in event["registrations"]),
    )
    await cdp.send("ServiceWorker.enable")
    await eventually(lambda: found)
    await cdp.send(
        "ServiceWorker.deliverPushMessage",
        {"origin": server.url, "registrationId": found[0], "data": json.dumps(message)},
    )


SHOWN = """async (wanted) => {
  const shown = await (await navigator.serviceWorker.ready).getNotifications();
  return JSON.stringify(shown.map(({ title, body, tag }) => ({ title, body, tag }))) === JSON.stringify(wanted);
}"""


async def test_a_message_is_shown_while_the_page_is_not_looked_at(
    browser: Browser, server: Served, service: PushService
) -> None:
    visitor = await Visitor.come(browser, server.url)
    subscription = await subscribable(visitor, server, service)
    page = visitor.page
    bob = await visitor.register("Bob")
    await page.click('.rail a[href="#/settings"]')
    await page.click('button:has-text("Show notifications on this device")')
    await expect(page.locator('button:has-text("Stop notifications on this device")')).to_have_count(1)
    ann = await server.people.make("Ann")
    await page.goto("about:blank")
    sent = await ann.post("/api/v2/messages", {"type": "text", "targetUserId": bob, "content": "hello"})
    message, chat = sent.json, sent.json["chatId"]
    await quiet(server)
    ((notification,),) = subscription.shown.values()
    assert notification["navigate"] == f"{server.url}/#/chat/{chat}"
    await page.goto(server.url)
    await visitor.online()
    for _ in range(2):
        await deliver(visitor, server, service.received[0].message)
        await expect_shown(page, [{"title": "Ann", "body": "hello", "tag": message["_id"]}])
    await page.click('.rail a[href="#/settings"]')
    await page.click('button:has-text("Stop notifications on this device")')
    await expect(page.locator('button:has-text("Show notifications on this device")')).to_have_count(1)
    await until_true(page, "window.unsubscribed")
    await ann.send(chat, "after")
    await quiet(server)
    assert len(service.received) == 1 and visitor.problems == []


async def until_true(page: Page, expression: str) -> None:
    """Asked from outside: waiting in the page evaluates text, which its policy forbids."""
    async with asyncio.timeout(HANG_SECONDS):
        while not await page.evaluate(expression):
            await asyncio.sleep(0.02)


async def expect_shown(page: Page, wanted: list[dict[str, str]]) -> None:
    """Shown once, however often it came."""
    await page.wait_for_function(SHOWN, arg=wanted)


async def test_at_each_start_the_subscription_is_registered_again(
    browser: Browser, server: Served, service: PushService
) -> None:
    visitor, page = await turned_on(browser, server, service)
    async with page.expect_request(lambda request: request.method == "POST" and request.url.endswith("/devices")):
        await page.reload()
    await page.click('.rail a[href="#/settings"]')
    await page.click('button:has-text("Log out")')
    await page.wait_for_selector(".enter")
    assert await page.evaluate("localStorage['bellwire.pushed']") is None and visitor.problems == []


async def test_turned_off_while_it_is_registered_again(browser: Browser, server: Served, service: PushService) -> None:
    """What began before must not undo it."""
    visitor, page = await turned_on(browser, server, service)
    asked, released = asyncio.Event(), asyncio.Event()

    async def later(route: Route) -> None:
        asked.set()
        await released.wait()
        await route.continue_()

    calls: list[str] = []
    changes = ("POST", "DELETE")
    page.on(
        "request", lambda it: calls.append(it.method) if "/api/v1/devices" in it.url and it.method in changes else None
    )
    await page.route("**/api/v1/devices", later)
    await page.reload()
    await asyncio.wait_for(asked.wait(), HANG_SECONDS)
    await page.click('button:has-text("Stop notifications on this device")')
    released.set()
    await expect(page.locator('button:has-text("Show notifications on this device")')).to_have_count(1)
    assert calls == ["POST", "DELETE"] and visitor.problems == []


async def test_a_silent_push_service_keeps_nobody_in(browser: Browser, server: Served, service: PushService) -> None:
    """Who logs out while the browser waits for its push service."""
    visitor, page = await turned_on(browser, server, service)
    silent = "PushManager.prototype.subscribe = () => { window.waits = true; return new Promise(() => {}); }"
    await visitor.context.add_init_script(silent)
    await page.reload()
    await until_true(page, "window.waits")
    await page.click('button:has-text("Log out")')
    await page.wait_for_selector(".enter")
    assert visitor.problems == []
