"""An administrator in front of the monitor."""

import re

from playwright.async_api import expect

from push.doubles.apns import Apple
from push.doubles.apple_connection import ApnsFault
from server.nodes import nodes_of
from storage.types import SECOND, now
from tests.browser.conftest import Visit
from tests.browser.visitor import PASSWORD, Visitor, violations
from tests.conftest import Served, ServerFactory
from tests.support.pushing import pair, quiet


async def admin_at(visit: Visit, server: Served, name: str = "Root", tab: str = "Overview") -> Visitor:
    admin = await server.people.make(name, permissions=["admin"], grant=["admin", "users.manage"])
    visitor = await visit(url=server.url)
    await visitor.enter_as(admin, ["admin"])
    await visitor.page.click('.rail a[href="/monitor"]')
    await visitor.page.click(f".tabs a:has-text('{tab}')")
    return visitor


async def record(server: Served, at: int) -> None:
    await server.services.figure_history.record(await nodes_of(server.services), at)


async def test_plots_of_the_last_day_and_nodes(visit: Visit, server: Served) -> None:
    ann = await server.people.make()
    chat_id = await ann.group()
    await record(server, now() - 30 * SECOND)
    for _ in range(20):
        await ann.send(chat_id)
    await record(server, now() - 10 * SECOND)
    admin = await admin_at(visit, server)
    page = admin.page
    await expect(page.locator(".plot canvas")).to_have_count(11)
    await expect(page.locator(".plot:has-text('Writes/s') .holder")).to_have_attribute(
        "aria-label", re.compile("Writes/s: .*: [0-9]")
    )
    await expect(page.locator(".plot:has-text('Commit latency') .u-legend")).to_contain_text("p99")
    assert await violations(admin) == []
    for name in ("1 hour", "1 day", "15 minutes"):
        async with page.expect_response(lambda response: "/nodes/history" in response.url) as response:
            await page.click(f".filters button:has-text('{name}')")
        assert (await response.value).status == 200
    await page.click(".tabs a:has-text('Nodes')")
    await expect(page.locator("table tbody tr")).to_have_count(1)
    assert await violations(admin) == []


async def test_a_user_is_suspended_and_let_in_again(visit: Visit, server: Served) -> None:
    ann = await server.people.make("Ann Findable")
    admin = await admin_at(visit, server, tab="Users")
    page = admin.page
    await page.fill("input[name=query]", "findable")
    await page.press("input[name=query]", "Enter")
    await page.click("button:has-text('Suspend')")
    await page.click("dialog button.danger")
    await expect(page.locator("mark")).to_have_text("banned")
    assert (await ann.get("/api/v1/users/me")).status == 401
    await page.click("button:has-text('Unsuspend')")
    await expect(page.locator("mark")).to_have_count(0)
    await page.click("button:has-text('Password link')")
    await expect(page.locator("[role=status] code")).to_contain_text("reset=")
    await page.click(".tabs a:has-text('Audit')")
    await expect(page.locator("tbody tr").first).to_be_visible()


async def test_a_webhook_is_made_and_removed(visit: Visit, server: Served) -> None:
    admin = await admin_at(visit, server, tab="Webhooks")
    page = admin.page
    await page.fill("input[name=url]", "https://example.org/hook")
    await page.fill("input[name=events]", "message:new")
    await page.click("form button:has-text('Create')")
    await expect(page.locator("[role=status] code")).to_contain_text("whsec_")
    await expect(page.locator("li .title")).to_have_text("https://example.org/hook")
    await page.click("li button:has-text('Calls')")
    await expect(page.locator("section[aria-label=Calls]")).to_contain_text("No results")
    await page.click("li button:has-text('Delete')")
    await page.click("dialog button.danger")
    await expect(page.locator("li .title")).to_have_count(0)


async def test_who_may_register(visit: Visit, server: Served) -> None:
    admin = await admin_at(visit, server, tab="Tenant")
    page = admin.page
    await page.select_option("select[name=registration]", "invitation")
    await page.click("form button:has-text('Save')")
    await expect(page.locator("form [role=status]")).to_have_text("Saved.")
    await page.click("button:has-text('Create invitation link')")
    link = await page.locator("[role=status] code").inner_text()
    stranger = await visit()
    await stranger.page.goto(link)
    await stranger.page.fill("input[name=name]", "Invited")
    await stranger.page.fill("input[name=email]", "invited@example.org")
    await stranger.page.fill("input[name=password]", PASSWORD)
    await stranger.page.click("button[name=action]")
    await stranger.online()


async def test_search_finds_users_and_chats_and_nothing_said(visit: Visit, server: Served) -> None:
    admin = await admin_at(visit, server, tab="Users")
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
    admin = await admin_at(visit, server, tab="Pushes")
    card = admin.page.locator(".card:has(h2:has-text('Failed pushes'))")
    await expect(card.locator("tbody tr")).to_have_count(1)
    await expect(card.locator("tbody")).to_contain_text("message, apns")
    await card.locator("button:has-text('Try again')").click()
    await expect(card).to_contain_text("Retry scheduled.")
    await expect(card.locator("tbody tr")).to_have_count(0)


async def test_a_broadcast_after_a_preview(visit: Visit, server: Served) -> None:
    ann = await visit()
    await ann.register("Ann")
    admin = await admin_at(visit, server, tab="Broadcasts")
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
