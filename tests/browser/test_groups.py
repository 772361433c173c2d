"""Groups in front of the chat page: invite links, and lines about joins, leaves and names."""

from datetime import UTC, datetime, timedelta

from playwright.async_api import expect

from tests.browser.conftest import Cuttable, Visit
from tests.conftest import Served


async def test_an_invite_link(visit: Visit, server: Served) -> None:
    """Made by the owner, opened by somebody without an account, and revoked."""
    ann = await server.people.make("Ann")
    chat = await ann.group(name="Readers")
    owner, guest, late = await visit(), await visit(), await visit()
    await owner.enter_as(ann)
    await owner.open_chat("Readers")
    await owner.page.click(".conversation > header button[aria-label=More]")
    await owner.page.click("button:has-text('Show invite link')")
    link = await owner.page.input_value("input.link")
    assert link.startswith(f"{server.url}/#invite=")

    await guest.page.goto(link)
    await expect(guest.page.locator("[role=status]:has-text('join the group')")).to_be_visible()
    assert "invite" not in guest.page.url, "the address is kept in the history, and shown to others"
    await guest.page.click(".enter p.inline button >> nth=0")
    await guest.page.fill("input[name=name]", "Bob")
    await guest.page.fill("input[name=email]", "bob@example.org")
    await guest.page.fill("input[name=password]", "correct horse")
    await guest.page.click("button[name=action]")
    await guest.page.click("dialog button:has-text('Join')")
    await expect(guest.page.locator("main h1")).to_have_text("Readers")
    await expect(owner.page.locator(".event")).to_have_text(["\u2068Bob\u2069 joined the group"])

    await owner.page.click("dialog button:has-text('Revoke link')")
    await owner.page.click("dialog:has-text('Revoke the invite link?') form button:has-text('Revoke')")
    await expect(owner.page.locator("button:has-text('Show invite link')")).to_have_count(1)
    await late.enter_as(await server.people.make("Cat"))
    await late.page.goto(link)
    await late.page.click("dialog button:has-text('Join')")
    await expect(late.page.locator(".notice")).to_contain_text("unknown, revoked or expired")
    await expect(late.page.locator(".chats a")).to_have_count(0)
    assert (await ann.get(f"/api/v2/chats/{chat}")).json["memberCount"] == 2


async def test_a_link_that_is_no_link_and_a_language_before_the_log_in(visit: Visit, server: Served) -> None:
    ann = await server.people.make("Ann")
    chat = await ann.group(name="Readers")
    token = (await ann.post(f"/api/v2/chats/{chat}/invite")).json["token"]
    guest = await visit()
    await guest.page.goto(f"{server.url}/#invite=%zz")
    await expect(guest.page.locator("[role=status]:has-text('join the group')")).to_be_visible()
    await guest.page.goto(f"{server.url}/healthz")
    await guest.page.goto(f"{server.url}/#invite={token}")
    await guest.page.select_option("select[name=language]", "tr")
    await expect(guest.page.locator("[role=status]:has-text('Gruba katılmak için')")).to_be_visible()
    await guest.enter_as(await server.people.make("Bob"))
    await guest.page.click("dialog button:has-text('Katıl')")
    await expect(guest.page.locator("main h1")).to_have_text("Readers")


async def test_lines_that_were_missed_have_their_time(visit: Visit, server: Served, cuttable: Cuttable) -> None:
    """What is replayed after a cut is shown on the day when it happened."""
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    chat = await ann.group(bob, name="Tea")
    visitor = await visit(url=cuttable.url)
    await visitor.enter_as(bob)
    await visitor.open_chat("Tea")
    await ann.send(chat, "one")
    await visitor.sees("one")
    cuttable.cut()
    await expect(visitor.page.locator(".banner")).to_contain_text("offline")
    await ann.patch(f"/api/v2/chats/{chat}", {"name": "Coffee"})
    await ann.send(chat, "two")
    await visitor.page.clock.set_system_time(datetime.now(UTC) + timedelta(days=1))
    cuttable.heal()
    await visitor.online()
    shown = visitor.page.locator(".messages .day, .messages .event, .messages .message .content")
    await expect(shown).to_have_text(["Yesterday", "one", "The group is now called \u2068Coffee\u2069", "two"])


async def test_lines_between_messages(visit: Visit, server: Served) -> None:
    """Live, and as they were, among the messages that they came between."""
    ann, bob, cat = [await server.people.make(name) for name in ("Ann", "Bob", "Cat")]
    chat = await ann.group(bob, name="Tea")
    watching = await visit()
    await watching.enter_as(bob)
    await watching.open_chat("Tea")
    await ann.send(chat, "first")
    await watching.sees("first")
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    await ann.send(chat, "second")
    await ann.patch(f"/api/v2/chats/{chat}", {"name": "Coffee"})
    await cat.post(f"/api/v2/chats/{chat}/leave")
    lines = watching.page.locator(".messages .message .content, .messages .event")
    expected = [
        "first", "\u2068Cat\u2069 joined the group", "second", "The group is now called \u2068Coffee\u2069",
        "\u2068Cat\u2069 is not in the group any more",
    ]  # fmt: skip
    await expect(lines).to_have_text(expected)
    await watching.page.reload()
    await expect(lines).to_have_text(expected)
    turkish = await visit(locale="tr-TR")
    await turkish.enter_as(bob)
    await turkish.open_chat("Coffee")
    await expect(turkish.page.locator(".event")).to_have_text([
        "\u2068Cat\u2069 gruba katıldı", "Grubun yeni adı: \u2068Coffee\u2069", "\u2068Cat\u2069 artık grupta değil",
    ])  # fmt: skip


async def test_many_joins_in_one_line(visit: Visit, server: Served) -> None:
    ann, bob, *others = [await server.people.make(name) for name in ("Ann", "Bob", "C", "D", "E", "F", "G", "H")]
    chat = await ann.group(bob, name="Tea")
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [each.id for each in others]})
    visitor = await visit()
    await visitor.enter_as(bob)
    await visitor.open_chat("Tea")
    await expect(visitor.page.locator(".event")).to_have_text(["\u2068C, D, E, F, and 2 others\u2069 joined the group"])


async def test_lines_of_older_pages(visit: Visit, server: Served) -> None:
    """They are loaded with the messages that they belong to."""
    ann, bob, cat = [await server.people.make(name) for name in ("Ann", "Bob", "Cat")]
    chat = await ann.group(bob, name="Tea")
    for number in range(60):
        await ann.send(chat, f"number {number}")
        if number == 2:
            await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    newest = (await bob.get(f"/api/v2/messages?chatId={chat}&limit=1")).json["items"][0]
    await bob.post(f"/api/v2/messages/{newest['_id']}/read")
    visitor = await visit()
    await visitor.enter_as(bob)
    async with visitor.page.expect_response(lambda answer: f"{chat}/events" in answer.url):
        await visitor.open_chat("Tea")
    await expect(visitor.page.locator(".message")).to_have_count(50)
    await expect(visitor.page.locator(".event")).to_have_count(0)
    while await visitor.page.locator(".message").count() < 60:
        await visitor.page.locator(".scroller").evaluate("each => { each.scrollTop = -each.scrollHeight }")
    await expect(visitor.page.locator(".event")).to_have_text(["\u2068Cat\u2069 joined the group"])
    after = visitor.page.locator(".event + .message .content")
    await expect(after).to_have_text("number 3")


async def test_a_large_group_opens_at_the_first_unread_message(visit: Visit, server: Served) -> None:
    """Its document shows a hundred members, the user among them."""
    ann, *others = await server.people.many(105)
    bob = others[-1]
    chat = await ann.group(*others, name="Crowd")
    sent = [await ann.send(chat, f"number {number}") for number in range(80)]
    await bob.post(f"/api/v2/messages/{sent[9]['_id']}/read")
    visitor = await visit()
    await visitor.enter_as(bob)
    await visitor.open_chat("Crowd")
    await expect(visitor.page.locator(".divider")).to_be_in_viewport()
    await expect(visitor.page.locator(f"#m-{sent[10]['_id']}")).to_be_in_viewport()
