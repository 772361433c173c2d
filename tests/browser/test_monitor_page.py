"""An administrator in front of the monitor."""

import asyncio

from playwright.async_api import expect

from push.doubles.apns import Apple
from push.doubles.apple_connection import ApnsFault
from tests.browser.conftest import Visit
from tests.browser.visitor import Visitor
from tests.conftest import Served, ServerFactory
from tests.support.pushing import pair, quiet


async def admin_at(visit: Visit, server: Served, name: str = "Root") -> Visitor:
    admin = await server.people.make(name, permissions=["admin"])
    visitor = await visit(url=server.url)
    await visitor.enter_as(admin, ["admin"])
    await visitor.page.click('.rail a[href="/monitor"]')
    await visitor.page.wait_for_selector(".plots")
    return visitor


async def test_plots_move_and_nodes_are_listed(visit: Visit, server: Served) -> None:
    admin = await admin_at(visit, server)
    ann = await server.people.make()
    chat_id = await ann.group()
    await expect(admin.page.locator("table tbody tr")).to_have_count(1)
    newest = admin.page.locator(".plot:has-text('Writes/s') h3 b")
    await expect(newest).not_to_have_text("–")

    async def write() -> None:
        while True:
            await ann.send(chat_id)
            await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        writing = group.create_task(write())
        await expect(newest).not_to_have_text("0")
        writing.cancel()
    await expect(admin.page.locator(".plot polyline")).to_have_count(11)


async def test_search_finds_users_and_chats_and_nothing_said(visit: Visit, server: Served) -> None:
    admin = await admin_at(visit, server)
    ann, bob = await server.people.make("Ann Findable"), await server.people.make("Bob")
    chat_id = await ann.group(bob, name="Findable group")
    await ann.send(chat_id, "a secret")
    await admin.page.fill("input[name=query]", "findable")
    await admin.page.press("input[name=query]", "Enter")
    card = admin.page.locator(".card:has(input[name=query])")
    await expect(card).to_contain_text("Ann Findable")
    await expect(card).to_contain_text("Findable group")
    assert "a secret" not in await card.inner_text()
    await card.locator("button:has-text('Pushes')").click()
    await expect(card).to_contain_text("No results")
    await admin.page.fill("input[name=query]", chat_id)
    await admin.page.press("input[name=query]", "Enter")
    await expect(card).to_contain_text(chat_id)


async def test_a_push_that_was_given_up_is_tried_again(visit: Visit, apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, _, chat = await pair(server)
    apple.plan = lambda push: ApnsFault("status", 400, "BadTopic")
    await ann.send(chat)
    await quiet(server)
    apple.plan = lambda push: None
    admin = await admin_at(visit, server)
    card = admin.page.locator(".card:has(h2:has-text('Failed pushes'))")
    await expect(card.locator("tbody tr")).to_have_count(1)
    await expect(card.locator("tbody")).to_contain_text("message, apns")
    await card.locator("button:has-text('Try again')").click()
    await expect(card).to_contain_text("Retry scheduled.")
    await expect(card.locator("tbody tr")).to_have_count(0)


async def test_a_broadcast_after_a_preview(visit: Visit, server: Served) -> None:
    ann = await visit()
    await ann.register("Ann")
    admin = await admin_at(visit, server)
    await admin.page.fill("input[name=title]", "Maintenance")
    await admin.page.fill("textarea[name=message]", "Tonight at <b>ten</b>.")
    await admin.page.click("button:has-text('Preview')")
    await expect(admin.page.locator("blockquote")).to_contain_text("Tonight at <b>ten</b>.")
    await expect(admin.page.locator(".card:has(blockquote)")).to_contain_text("2 people get this notification:")
    assert await ann.page.locator('.rail a[href="#/notifications"] .badge').count() == 0
    await admin.page.click("button:has-text('Send to all')")
    await expect(ann.page.locator('.rail a[href="#/notifications"] .badge')).to_have_text("1")
    await expect(admin.page.locator(".card:has-text('Maintenance') .hint")).to_contain_text("sent to 2")


async def test_nobody_else_sees_anything(visit: Visit, server: Served) -> None:
    ann = await visit()
    await ann.register("Ann")
    await ann.online()
    await ann.page.wait_for_load_state("networkidle")
    asked: list[str] = []
    ann.page.on("request", lambda request: asked.append(request.url))
    await ann.page.goto(f"{server.url}/monitor")
    await expect(ann.page.locator("main")).to_contain_text("Administrator access required")
    assert not [each for each in asked if "/api/" in each]
