"""Two people and more in front of the chat page."""

import asyncio
import io
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.async_api import expect

from realtime.schema import fields
from tests.browser.conftest import Cuttable, Visit
from tests.browser.visitor import PASSWORD, Visitor, violations
from tests.conftest import Served, ServerFactory, eventually
from tests.support.guard import HANG_SECONDS
from tests.support.people import Person
from tests.support.proxy import Proxy

FIRST_LOAD = 200_000


async def two(visit: Visit, **options: Any) -> tuple[Visitor, Visitor]:
    """Ann and Bob, in a direct chat that both have open."""
    ann, bob = await visit(**options), await visit(**options)
    await ann.register("Ann")
    await bob.register("Bob")
    await ann.chat_with("Bob")
    await bob.open_chat("Ann")
    return ann, bob


async def all_upgraded(server: Served, sessions: int) -> None:
    """Wait until so many sessions are open, each on a websocket: losing one ends its session at once."""
    of_server = server.services.namespace.sessions
    await eventually(lambda: [each.socket.upgraded for each in of_server.all()] == [True] * sessions)


async def test_two_people_chat_and_see_what_was_read(visit: Visit, server: Served) -> None:
    ann, bob = await two(visit)
    await ann.say("Hello Bob")
    await bob.sees("Hello Bob")
    await expect(ann.page.locator(".mark.read")).to_have_count(1)
    await bob.page.type(".composer textarea", "Hi")
    await expect(ann.page.locator(".typing")).to_have_text("\u2068Bob\u2069 is typing…")
    await bob.page.press(".composer textarea", "Enter")
    await ann.sees("Hello Bob", "Hi")
    await expect(ann.page.locator(".typing")).to_have_text("")
    await expect(ann.page.locator("main h1 + p")).to_have_text("online")

    await bob.page.hover(".message.mine")
    await bob.page.click(".message.mine .open-menu")
    await bob.page.click(".menu button:has-text('Edit')")
    await bob.page.fill(".composer textarea", "Hi Ann")
    await bob.page.press(".composer textarea", "Enter")
    await ann.sees("Hello Bob", "Hi Ann")
    await expect(ann.page.locator(".message footer:has-text('edited')")).to_have_count(1)

    await ann.page.hover(".message.mine")
    await ann.page.click(".message.mine .open-menu")
    await ann.page.click(".menu button:has-text('Delete')")
    await ann.page.click("dialog button.danger")
    await bob.sees("This message was deleted", "Hi Ann")

    await bob.page.click('.rail a[href="#/settings"]')
    await all_upgraded(server, 2)
    await bob.context.close()
    await expect(ann.page.locator("main h1 + p")).to_contain_text("last seen")


async def test_reactions(visit: Visit) -> None:
    ann, bob = await two(visit)
    await ann.say("hello")
    await bob.sees("hello")
    await bob.page.hover(".message")
    await bob.page.click(".message .open-menu")
    await bob.page.click(".offered button >> nth=1")
    chip = ann.page.locator(".reactions button")
    await expect(chip).to_have_text(re.compile(r"\s*❤️\s*1"))
    await expect(chip).to_have_attribute("aria-pressed", "false")
    await chip.click()
    await expect(bob.page.locator(".reactions button")).to_have_text(re.compile(r"\s*❤️\s*2"))
    await expect(chip).to_have_attribute("aria-pressed", "true")
    await ann.page.reload()
    await expect(ann.page.locator(".reactions button")).to_have_attribute("aria-pressed", "true")
    for visitor in (ann, bob):
        await visitor.page.click(".reactions button")
    await expect(ann.page.locator(".reactions")).to_have_count(0)
    await expect(bob.page.locator(".reactions")).to_have_count(0)


async def test_a_thread(visit: Visit) -> None:
    ann, bob = await two(visit)
    await ann.say("root")
    await bob.sees("root")
    await bob.page.hover(".message")
    await bob.page.click(".message .open-menu")
    await bob.page.click(".menu button:has-text('Reply in thread')")
    await bob.page.fill(".panel input[name=reply]", "first <b>reply</b>")
    await bob.page.press(".panel input[name=reply]", "Enter")
    await expect(bob.page.locator(".thread .message .content").nth(1)).to_have_text("first <b>reply</b>")
    link = ann.page.locator(".messages .replies")
    await expect(link).to_have_text("1 reply")
    await expect(ann.page.locator(".messages .message")).to_have_count(1)
    await expect(ann.page.locator('.rail a[href="#/chats"] .badge')).to_have_text("1")
    await link.click()
    await expect(ann.page.locator(".thread .message .content").nth(1)).to_have_text("first <b>reply</b>")
    await expect(ann.page.locator('.rail a[href="#/chats"] .badge')).to_have_count(0)
    assert await violations(ann) == []
    await ann.page.fill(".panel input[name=reply]", "second")
    await ann.page.click(".panel form button")
    await expect(bob.page.locator(".thread .message .content").nth(2)).to_have_text("second")
    await ann.page.keyboard.press("Escape")
    await expect(link).to_have_text("2 replies")
    await ann.page.reload()
    await expect(ann.page.locator(".messages .replies")).to_have_text("2 replies")


async def test_unread_messages_are_counted_and_drafts_stay(visit: Visit) -> None:
    ann, bob = await two(visit)
    await bob.page.goto(f"{bob.url}/#/notifications")
    await bob.page.reload()
    await bob.online()
    await ann.say("one")
    await ann.say("two")
    await expect(bob.page.locator('.rail a[href="#/chats"] .badge')).to_have_text("2")
    await expect(bob.page).to_have_title("(2) Bellwire")
    await bob.page.click('.rail a[href="#/chats"]')
    await expect(bob.page.locator(".preview")).to_have_text("two")
    await bob.open_chat("Ann")
    await expect(bob.page.locator(".badge")).to_have_count(0)
    await ann.page.fill(".composer textarea", "not yet")
    await ann.page.reload()
    await expect(ann.page.locator(".composer textarea")).to_have_value("not yet")


async def speak(one: Visitor, other: Visitor) -> None:
    """Record a voice message, and hear it."""
    await one.page.click("button[aria-label='Record a voice message']")
    await expect(one.page.locator(".composer [role=status]")).to_contain_text("Recording")
    await asyncio.sleep(1)
    await one.page.click("button[aria-label='Stop and send']")
    # It plays for a second only: a look at the player may come too late, the event does not.
    await other.page.evaluate(
        "() => { window.played = new Promise(done => addEventListener('playing', () => done('played'), true)) }"
    )
    await other.page.click(".voice")
    async with asyncio.timeout(HANG_SECONDS):
        assert await other.page.evaluate("window.played") == "played"


def photo(width: int = 640, height: int = 480) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(file, "JPEG")
    return file.getvalue()


async def test_a_picture_a_file_and_a_voice(visit: Visit) -> None:
    ann, bob = await two(visit)
    await ann.send_file({"name": "sea.jpg", "mimeType": "image/jpeg", "buffer": photo()}, "the sea")
    image = bob.page.locator(".thumbnail img")
    await expect(image).to_have_js_property("naturalWidth", 320)
    await expect(bob.page.locator(".message:has(.thumbnail) .content")).to_have_text("the sea")
    await bob.page.click(".thumbnail")
    await expect(bob.page.locator(".lightbox img")).to_have_js_property("naturalWidth", 640)
    await bob.page.keyboard.press("Escape")
    await ann.send_file({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"some text " * 50})
    await expect(bob.page.locator(".message .title")).to_have_text("notes.txt")
    async with bob.context.expect_page() as opened:
        await bob.page.click(".message button:has-text('notes.txt')")
    await opened.value

    await speak(ann, bob)
    await ann.send_file({"name": "x.svg", "mimeType": "image/svg+xml", "buffer": b"<svg></svg>"})
    await expect(ann.page.locator(".notice")).to_contain_text("Couldn't send")


async def test_credits_are_sent_after_a_confirmation(visit: Visit, server: Served) -> None:
    ann, bob = await two(visit)
    admin = await server.people.make(grant=["credits.grant"])
    ann_id = await ann.page.evaluate("JSON.parse(localStorage['bellwire.login']).user.id")
    assert (await admin.post("/api/v1/credits/grants", {"userId": ann_id, "amount": 100})).status == 201
    await ann.page.click('.rail a[href="#/credits"]')
    await expect(ann.page.locator(".balance b")).to_have_text("100")
    await bob.page.click('.rail a[href="#/credits"]')
    await expect(bob.page.locator(".balance b")).to_have_text("0")

    await ann.page.click("button[aria-label='Send credits']")
    await ann.page.fill("dialog input[name=amount]", "1.5")
    await expect(ann.page.locator("dialog [role=alert]")).to_have_text("Enter a whole number greater than 0.")
    await ann.page.fill("dialog input[name=amount]", "30")
    await ann.page.click("dialog button:has-text('Next')")
    await expect(ann.page.locator("dialog")).to_contain_text("Send 30 credits to \u2068Bob\u2069?")
    await ann.page.click("dialog form button:has-text('Send credits')")
    await expect(bob.page.locator(".message .credits")).to_have_text("30 credits from \u2068Ann\u2069")
    await expect(ann.page.locator(".balance b")).to_have_text("70")
    await expect(bob.page.locator(".balance b")).to_have_text("30")
    await expect(bob.page.locator(".transactions b")).to_have_text("+30")

    await ann.page.click("button[aria-label='Send credits']")
    await ann.page.fill("dialog input[name=amount]", "71")
    await ann.page.click("dialog button:has-text('Next')")
    await ann.page.click("dialog form button:has-text('Send credits')")
    await expect(ann.page.locator(".message.refused")).to_contain_text("Couldn't send")
    await ann.page.click(".message.refused button:has-text('Discard')")
    await expect(ann.page.locator(".message")).to_have_count(1)


async def test_a_notification_in_the_bell(visit: Visit, server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    # An earlier version took such links.
    monkeypatch.setattr(fields, "REFUSED_SCHEMES", frozenset())
    ann = await visit()
    id = await ann.register("Ann")
    manager = await server.people.make(grant=["users.manage"])
    number = (await manager.get(f"/api/v1/users/{id}")).json["data"]["number"]
    sender = await server.people.make(grant=["notifications.send"])
    for title, link in (("Your order", "https://example.org/orders/7"), ("A trap", "javascript:alert(1)")):
        body = {"userId": id, "type": "info", "category": "orders", "title": title, "message": "It is on its way."}
        made = await sender.post("/api/v1/notifications", body)
        assert made.status == 201
        body = {"user_id": number, "type": "info", "title": title, "message": "Look", "action_url": link}
        assert (await sender.post("/api/v1/notifications", body)).status == 201
    badge = ann.page.locator('.rail a[href="#/notifications"] .badge')
    await expect(badge).to_have_text("4")
    await ann.page.click('.rail a[href="#/notifications"]')
    await expect(ann.page.locator(".notification")).to_have_count(4)
    assert await ann.page.locator(".notification a").evaluate_all("all => all.map(each => each.href)") == [
        "https://example.org/orders/7"
    ]
    await ann.page.click(".notification >> nth=0 >> button:has-text('Mark as read')")
    await expect(badge).to_have_text("3")
    await ann.page.click(".notification >> nth=1 >> button[aria-label=Delete]")
    await expect(ann.page.locator(".notification")).to_have_count(3)
    await ann.page.click(".place button:has-text('Mark all as read')")
    await expect(badge).to_have_count(0)
    await ann.page.reload()
    await expect(ann.page.locator(".notification.unread")).to_have_count(0)


async def test_a_cut_loses_nothing_and_doubles_nothing(visit: Visit, server: Served) -> None:
    address = urlsplit(server.url)
    way: list[tuple[str, int] | None] = [(address.hostname or "", address.port or 0)]
    async with Proxy(lambda: way[0]) as proxy:
        ann, bob = await two(visit, url=f"http://127.0.0.1:{proxy.port}")
        await ann.say("before")
        await bob.sees("before")
        way[0], open_way = None, way[0]
        proxy.cut()
        for each in (ann, bob):
            await expect(each.page.locator(".banner")).to_contain_text("offline")
        for number in range(3):
            await ann.say(f"ann {number}")
            await bob.say(f"bob {number}")
        await expect(ann.page.locator(".message.waiting")).to_have_count(3)
        assert len(await waiting(bob)) == 3
        way[0] = open_way
        for each in (ann, bob):
            await each.online()
            await expect(each.page.locator(".message:not(.waiting) .content")).to_have_count(7)
        # The network goes in the middle of an ack, too.
        proxy.swallow(True)
        await ann.say("into the dark")
        proxy.cut()
        proxy.swallow(False)
        await expect(bob.page.locator(".message:not(.waiting) .content")).to_have_count(8)
        told = [await each.page.locator(".message:not(.waiting) .content").all_text_contents() for each in (ann, bob)]
    assert told[0] == told[1] and len(set(told[0])) == 8
    assert [text for text in told[0] if text.startswith("ann")] == ["ann 0", "ann 1", "ann 2"]
    assert [text for text in told[0] if text.startswith("bob")] == ["bob 0", "bob 1", "bob 2"]


async def waiting(visitor: Visitor) -> list[Any]:
    """What the browser keeps of messages that were not sent yet."""
    kept: list[Any] = await visitor.page.evaluate(
        "Object.entries(localStorage).filter(([key]) => key.startsWith('bellwire.queue')).map(([, kept]) => kept)"
    )
    return kept


async def test_what_waits_outlives_a_reload(visit: Visit) -> None:
    ann, bob = await two(visit)
    await ann.page.evaluate(
        """() => {
            const { user } = JSON.parse(localStorage["bellwire.login"]);
            const chatId = location.hash.split("/")[2];
            const message = { type: "text", chatId, content: "late", clientMessageId: "a-key-of-its-own" };
            localStorage[`bellwire.queue.${user.id}.a-key-of-its-own`] = JSON.stringify({ at: 1, message });
        }"""
    )
    await ann.page.reload()
    await bob.sees("late")
    await ann.sees("late")
    assert await waiting(ann) == []


async def test_two_tabs_share_a_login_that_is_renewed(visit: Visit) -> None:
    ann = await visit()
    await ann.register("Ann")
    second = await ann.context.new_page()
    await second.goto(ann.url)
    await second.wait_for_selector(".rail")
    renew = "import('/static/js/model/session.js').then(({ api }) => Promise.all([api.token(true), api.token(true)]))"
    tokens = await asyncio.gather(ann.page.evaluate(renew), second.evaluate(renew))
    assert len({token for pair in tokens for token in pair}) <= 2
    await ann.page.reload()
    await second.reload()
    await ann.online()
    await second.click('.rail a[href="#/settings"]')
    await second.click("button:has-text('Log out')")
    await expect(ann.page.locator(".enter")).to_have_count(1)


HOSTILE = {
    "markup": "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>",
    "bidi": "\u202egnp.exe \u2066\u2067 \u200f end",
    "marks": "Z" + "\u0301" * 10_000,
    "long": "W" * 5_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_a_hostile_message_is_harmless(visit: Visit, serve: ServerFactory, tmp_path: Path, kind: str) -> None:
    larger = await serve(max_content=64 * 1024, data_dir=tmp_path / "larger")
    ann, bob = await two(visit, url=larger.url)
    await ann.say(HOSTILE[kind])
    await ann.say("after")
    await bob.sees(HOSTILE[kind], "after")
    assert "hit" not in await bob.page.title()
    assert await bob.page.locator(".content img, .content script").count() == 0
    boxes = await bob.page.locator(".message").evaluate_all(
        "all => all.map(each => ({ ...each.getBoundingClientRect().toJSON(), inner: each.scrollWidth - each.clientWidth }))"
    )
    hostile, after = boxes
    assert hostile["bottom"] <= after["top"] and hostile["inner"] <= 1
    wide = "document.documentElement.scrollWidth <= innerWidth"
    assert await bob.page.evaluate(wide)
    await bob.page.click('.rail a[href="#/chats"]')
    assert await bob.page.evaluate(wide)
    # Drawn over nothing else: the direction of what stands beside it is as it was.
    assert await bob.page.locator(".message >> nth=1 >> .content").inner_text() == "after"


async def test_both_languages(visit: Visit) -> None:
    ann = await visit(locale="tr-TR")
    await ann.page.goto(ann.url)
    await expect(ann.page.locator("button[name=action]")).to_have_text("Giriş yap")
    assert await ann.page.evaluate("document.documentElement.lang") == "tr"
    await ann.register("Ayşe")
    await expect(ann.page.locator(".place > header h2")).to_have_text("Sohbetler")
    await ann.page.click('.rail a[href="#/settings"]')
    await ann.page.select_option(".settings select[name=language]", "en")
    await expect(ann.page.locator(".place > header h2")).to_have_text("Settings")
    await ann.page.reload()
    await expect(ann.page.locator(".place > header h2")).to_have_text("Settings")


async def test_an_error_in_the_language_of_the_reader(visit: Visit) -> None:
    """The server's codes are translated; its sentences are English."""
    ann = await visit(locale="tr-TR")
    await ann.page.goto(ann.url)
    await ann.page.fill("input[name=email]", "nobody@example.org")
    await ann.page.fill("input[name=password]", PASSWORD)
    await ann.page.click("button[name=action]")
    await expect(ann.page.locator("[role=alert]")).to_have_text("E-posta veya parola yanlış.")


async def test_an_upload_that_is_refused(visit: Visit, serve: ServerFactory, tmp_path: Path) -> None:
    small = await serve(max_upload=1000, data_dir=tmp_path / "small")
    ann = await visit(url=small.url, locale="tr-TR")
    await ann.enter_as(await small.people.make("Ann"))
    bob = await small.people.make("Bob")
    await ann.chat_with(bob.user.name)
    await ann.send_file({"name": "large.txt", "mimeType": "text/plain", "buffer": b"x" * 2000})
    await expect(ann.page.locator(".notice")).to_contain_text("Dosya veya metin çok büyük.")


async def test_a_narrow_screen(visit: Visit) -> None:
    ann, bob = await two(visit, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    await ann.say("from a phone")
    await bob.sees("from a phone")
    for place in ("composer", "list"):
        assert await bob.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), place
        if place == "composer":
            await expect(bob.page.locator(".rail")).to_be_hidden()
            await bob.page.click(".back")
    await expect(bob.page.locator("main")).to_be_hidden()
    await expect(bob.page.locator(".chats a")).to_be_visible()


async def test_right_to_left(visit: Visit) -> None:
    ann, bob = await two(visit)
    await ann.page.evaluate("document.documentElement.dir = 'rtl'")
    await ann.say("שלום")
    await bob.sees("שלום")
    await bob.say("hi")
    await ann.sees("שלום", "hi")
    box = "each => each.getBoundingClientRect().left"
    rail, place, main = [await ann.page.locator(name).evaluate(box) for name in (".rail", ".place", "main")]
    assert rail > place > main
    mine, theirs = [await ann.page.locator(name).evaluate(box) for name in (".message.mine", ".message:not(.mine)")]
    assert mine < theirs
    assert await ann.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_by_keyboard_alone(visit: Visit) -> None:
    ann, bob = await two(visit)
    await ann.say("hello")
    await bob.sees("hello")
    page = bob.page
    await page.locator(".chats a").focus()
    await page.keyboard.press("Enter")
    await page.locator(".message .open-menu").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".menu button >> nth=0")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator(".message .open-menu")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator(".menu button >> nth=0")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator(".reactions button")).to_have_count(1)
    await expect(page.locator(".message .open-menu")).to_be_focused()
    await page.keyboard.press("Enter")
    for _ in range(await page.locator(".offered button").count()):
        await page.keyboard.press("Tab")
    await expect(page.locator(".menu > button >> nth=0")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator(".composer textarea")).to_be_focused()
    await page.keyboard.type("by hand")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("alone")
    await page.keyboard.press("Enter")
    await ann.sees("hello", "by hand\nalone")
    await expect(ann.page.locator(".quoted")).to_contain_text("hello")
    await page.locator("button[aria-label='Send credits']").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)
    await expect(page.locator("button[aria-label='Send credits']")).to_be_focused()


async def test_history_has_no_end_and_no_holes(visit: Visit, server: Served) -> None:
    ann, other = await server.people.make("Ann"), await server.people.make("Bob")
    chat_id = await ann.group(other, name="Long")
    for start in range(0, 300, 50):
        await asyncio.gather(*(ann.send(chat_id, f"number {start + index}") for index in range(50)))
    page = await visit()
    await page.enter_as(other)
    await page.open_chat("Long")
    lines = page.page.locator(".message .content")

    # It opens at the first unread message.
    await expect(lines.first).to_be_in_viewport()
    await page.page.click("button.newest")
    await expect(lines.last).to_have_text("number 299")

    async def more() -> bool:
        await page.page.locator(".scroller").evaluate("each => { each.scrollTop = -each.scrollHeight }")
        return await page.page.locator(".messages > .hint").count() > 0 and await lines.count() == 300

    async with asyncio.timeout(HANG_SECONDS):
        while not await more():
            await asyncio.sleep(0.05)
    shown = await lines.all_text_contents()
    kept: list[str] = []
    before = ""
    while len(kept) < 300:
        history = (await ann.get(f"/api/v2/messages?chatId={chat_id}&limit=200{before}")).json
        kept = [each["content"] for each in history["items"]] + kept
        before = f"&before={history['before']}"
    assert shown == kept
    await ann.send(chat_id, "newest")
    await page.page.click("button.newest")
    await expect(lines.last).to_have_text("newest")


async def test_groups_and_streams(visit: Visit, server: Served) -> None:
    ann, bob = await visit(), await visit()
    await ann.register("Ann")
    await bob.register("Bob")
    await ann.page.click("button[aria-label='New group']")
    await ann.page.fill("dialog .find input", "Bob")
    await ann.page.press("dialog .find input", "Enter")
    await ann.page.check("dialog input[type=checkbox]")
    await ann.page.fill("dialog input[name=name]", "Friends")
    await ann.page.click("dialog button:has-text('Create')")
    await ann.page.wait_for_selector(".composer")
    await bob.open_chat("Friends")
    await ann.say("welcome")
    await bob.sees("welcome")
    await expect(bob.page.locator(".sender")).to_have_text("Ann")
    await ann.page.click("main button[aria-label=More]")
    await ann.page.fill("dialog form.inline input", "Old friends")
    await ann.page.click("dialog button:has-text('Rename')")
    await expect(bob.page.locator("main h1")).to_have_text("Old friends")
    await ann.page.click("dialog button[aria-label='Remove \u2068Bob\u2069']")
    await ann.page.click("dialog:has-text('from this group') button.danger")
    await expect(bob.page.locator(".chats a")).to_have_count(0)

    host = await server.people.make("Host", grant=["streams.manage"])
    made = await host.post("/api/v1/streams", {"title": "Launch", "startsAt": "2099-01-01T00:00:00Z"})
    stream = made.json["data"]
    await bob.page.click('.rail a[href="#/streams"]')
    await bob.page.click("button:has-text('Follow')")
    await expect(bob.page.locator("button:has-text('Unfollow')")).to_have_count(1)
    await bob.page.click("button:has-text('Open chat')")
    await bob.say("waiting for it")
    await eventually_said(host, stream["chatId"], "waiting for it")
    await bob.page.click('.rail a[href="#/streams"]')
    assert (await host.post(f"/api/v1/streams/{stream['id']}/ready")).status == 200
    await expect(bob.page.locator("mark")).to_have_text("ready")


async def test_an_open_stream(visit: Visit, server: Served, cuttable: Cuttable) -> None:
    """Anybody watches, writes and reacts without joining, also over a cut; who is silenced reads, who is banned is out."""
    host = await server.people.make("Host", grant=["streams.manage"])
    body = {"title": "Launch", "startsAt": "2099-01-01T00:00:00Z", "audience": "open"}
    stream = (await host.post("/api/v1/streams", body)).json["data"]
    ann, bob = await visit(url=cuttable.url), await visit()
    ann_id = await ann.register("Ann")
    await bob.register("Bob")
    for each in (ann, bob):
        await each.page.click('.rail a[href="#/streams"]')
        await each.page.click("button:has-text('Open chat')")
        await each.page.wait_for_selector(".composer")
    await ann.say("from a viewer")
    await bob.sees("from a viewer")
    for each in (ann, bob):
        await expect(each.page.locator("main header p.hint")).to_have_text("2 watching")
    await ann.page.click("button[aria-label='Send a heart']")
    await expect(bob.page.locator(".hearts i").first).to_have_text("❤️")
    cuttable.cut()
    await bob.say("during the cut")
    cuttable.heal()
    await ann.sees("from a viewer", "during the cut")
    member = f"/api/v2/chats/{stream['chatId']}/members/{ann_id}"
    assert (await host.post(f"{member}/silence", {})).status == 200
    await expect(ann.page.locator(".composer")).to_have_text("You are muted in this chat.")
    assert (await host.delete(f"{member}/silence")).status == 200
    await ann.say("again")
    said = ["from a viewer", "during the cut", "again"]
    await bob.sees(*said)
    await ann.page.reload()
    await ann.sees(*said)
    await bob.say("after the reload")
    await ann.sees(*said, "after the reload")
    assert (await host.post(f"{member}/ban", {})).status == 200
    await expect(ann.page.locator(".composer")).to_have_count(0)
    await ann.page.click('.rail a[href="#/chats"]')
    await expect(ann.page.locator(".chats a")).to_have_count(0)
    await expect(bob.page.locator("main header p.hint")).to_have_text("1 watching")


async def eventually_said(person: Person, chat_id: str, text: str) -> None:
    path = f"/api/v2/messages?chatId={chat_id}"
    async with asyncio.timeout(HANG_SECONDS):
        while text not in [each["content"] for each in (await person.get(path)).json["items"]]:
            await asyncio.sleep(0.05)


async def test_the_first_load_is_light_and_needs_nobody_else(visit: Visit) -> None:
    ann = await visit()
    asked: list[str] = []
    ann.page.on("request", lambda request: asked.append(request.url))
    session = await ann.context.new_cdp_session(ann.page)
    received: list[int] = []
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    await session.send("Network.enable")
    await ann.page.goto(ann.url)
    await ann.page.wait_for_selector("button[name=action]")
    await eventually(lambda: len(received) >= len([each for each in asked if not each.startswith("data:")]))
    assert sum(received) < FIRST_LOAD
    assert all(each.startswith((ann.url, "data:")) for each in asked)


# What a cut must not lose beside messages of open chats


async def test_what_came_into_new_chats_during_a_cut(visit: Visit, server: Served, cuttable: Cuttable) -> None:
    ann = await visit(url=cuttable.url)
    id = await ann.register("Ann")
    cuttable.cut()
    await expect(ann.page.locator(".banner")).to_contain_text("offline")
    bob = await server.people.make("Bob")
    for text in ("one", "two", "three"):
        sent = await bob.post("/api/v2/messages", {"type": "text", "targetUserId": id, "content": text})
        assert sent.status == 201
    cuttable.heal()
    await ann.online()
    await expect(ann.page.locator(".preview")).to_have_text("three")
    await expect(ann.page.locator(".chats .badge")).to_have_text("3")
    await ann.open_chat("Bob")
    await ann.sees("one", "two", "three")


async def test_a_chat_opened_during_a_cut_is_loaded_after_it(visit: Visit, server: Served, cuttable: Cuttable) -> None:
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    chat_id = await ann.group(bob, name="Old")
    await ann.send(chat_id, "old")
    visitor = await visit(url=cuttable.url)
    await visitor.enter_as(bob)
    await expect(visitor.page.locator(".chats a")).to_have_count(1)
    cuttable.cut()
    await expect(visitor.page.locator(".banner")).to_contain_text("offline")
    await visitor.page.click(".chats a")
    await ann.send(chat_id, "new")
    cuttable.heal()
    await visitor.online()
    await visitor.sees("old", "new")


async def test_presence_and_streams_outlive_a_cut(visit: Visit, server: Served, cuttable: Cuttable) -> None:
    ann, bob = await two(visit, url=cuttable.url)
    host = await server.people.make("Host", grant=["streams.manage"])
    made = await host.post("/api/v1/streams", {"title": "Launch", "startsAt": "2099-01-01T00:00:00Z"})
    stream = made.json["data"]
    await bob.page.click('.rail a[href="#/streams"]')
    await bob.page.click("button:has-text('Open chat')")
    await bob.page.wait_for_selector("main h1:has-text('Launch')")
    watching = server.services.namespace.sessions
    await all_upgraded(server, 2)
    cuttable.cut()
    await expect(ann.page.locator(".banner")).to_contain_text("offline")
    await expect(bob.page.locator(".banner")).to_contain_text("offline")
    cuttable.heal()
    await ann.online()
    await bob.online()
    await all_upgraded(server, 2)
    await eventually(lambda: [each for each in watching.all() if stream["id"] in each.streams.values()])
    await bob.open_chat("Ann")
    await eventually(lambda: not [each for each in watching.all() if each.streams])
    await expect(bob.page.locator("main h1 + p")).to_have_text("online")
    await ann.context.close()
    await expect(bob.page.locator("main h1 + p")).to_contain_text("last seen")


async def test_a_reload_that_fails_is_tried_again(visit: Visit, server: Served) -> None:
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    await ann.group(bob, name="There")
    visitor = await visit()
    failures = iter([True])
    await visitor.page.route(
        "**/api/v1/credits", lambda route: route.abort() if next(failures, False) else route.continue_()
    )
    await visitor.enter_as(bob)
    await expect(visitor.page.locator(".chats .title")).to_have_text("There")


async def test_two_tabs_wait_with_a_message_each(visit: Visit, server: Served, cuttable: Cuttable) -> None:
    ann, bob = await two(visit, url=cuttable.url)
    second = Visitor(ann.context, await ann.context.new_page(), ann.url)
    await second.page.goto(ann.page.url)
    await second.page.wait_for_selector(".composer")
    await second.online()
    cuttable.cut()
    for each in (ann, second):
        await expect(each.page.locator(".banner")).to_contain_text("offline")
    await ann.say("from the first")
    await second.say("from the second")
    await ann.page.close()
    assert len(await waiting(second)) == 2
    cuttable.heal()
    await expect(bob.page.locator(".message .content")).to_have_text(["from the second"])
    await second.page.reload()
    await bob.sees("from the second", "from the first")


async def test_a_token_that_ends_during_a_fault_ends_no_login(visit: Visit, server: Served, monkeypatch: Any) -> None:
    monkeypatch.setattr("realtime.logins.ACCESS_TTL_SECONDS", 3)
    ann = await visit()
    faults = True
    await ann.page.route("**/api/v1/auth/refresh", lambda route: route.abort() if faults else route.continue_())
    await ann.register("Ann")
    await expect(ann.page.locator(".banner")).to_contain_text("offline")
    faults = False
    monkeypatch.setattr("realtime.logins.ACCESS_TTL_SECONDS", 900)
    await ann.online()


# What counts as read


async def test_only_what_is_seen_is_read(visit: Visit) -> None:
    ann, bob = await two(visit, viewport={"width": 360, "height": 640})
    await bob.page.click(".back")
    await ann.say("nobody looks")
    await expect(bob.page.locator(".chats .badge")).to_have_text("1")
    await expect(ann.page.locator(".mark.read")).to_have_count(0)
    await bob.open_chat("Ann")
    await expect(ann.page.locator(".mark.read")).to_have_count(1)
    await expect(bob.page.locator(".badge")).to_have_count(0)
    # A page in the background, as a browser says it.
    hide = """value => {
        Object.defineProperty(document, 'hidden', { value, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    await bob.page.evaluate(hide, True)
    await ann.say("nobody looks again")
    await expect(bob.page.locator(".message .content")).to_have_count(2)
    await expect(ann.page.locator(".mark.read")).to_have_count(1)
    await bob.page.evaluate(hide, False)
    await expect(ann.page.locator(".mark.read")).to_have_count(2)


async def test_who_may_only_read(visit: Visit, server: Served) -> None:
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    chat_id = await ann.group(bob, name="News")
    await ann.send(chat_id, "read this")
    visitor = await visit()
    await visitor.enter_as(bob)
    await visitor.open_chat("News")
    await visitor.sees("read this")
    await expect(visitor.page.locator(".composer textarea")).to_have_count(1)
    cid = await server.people.make("Cid")
    assert (await ann.post(f"/api/v2/chats/{chat_id}/members", {"userIds": [cid.id]})).status == 201
    await expect(visitor.page.locator("main h1 + p")).to_have_text("3 members")
    changed = await ann.patch(f"/api/v2/chats/{chat_id}/members/{bob.id}", {"role": "readonly"})
    assert changed.status == 200
    await expect(visitor.page.locator(".composer")).to_have_text("read-only")
    await visitor.page.click("main button[aria-label=More]")
    await expect(visitor.page.locator("dialog .found .title")).to_have_text(["Ann", "Bob", "Cid"])
    await visitor.page.keyboard.press("Escape")
    await visitor.page.hover(".message")
    await visitor.page.click(".message .open-menu")
    await expect(visitor.page.locator(".menu button")).to_have_text(["Forward", "Copy text", "Copy link", "Report"])


async def test_a_chat_beyond_the_first_hundred(visit: Visit, server: Served) -> None:
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    oldest = await ann.group(bob, name="The oldest")
    await asyncio.gather(*(ann.group(bob, name=f"Group {number}") for number in range(101)))
    visitor = await visit()
    await visitor.enter_as(bob)
    await expect(visitor.page.locator(".chats a")).to_have_count(100)
    await ann.send(oldest, "still here")
    await expect(visitor.page.locator(".chats .title >> nth=0")).to_have_text("The oldest")
    await expect(visitor.page.locator(".chats .badge")).to_have_text("1")
    await visitor.page.reload()
    await visitor.page.goto(f"{visitor.url}/#/chat/{oldest}")
    await visitor.sees("still here")


async def test_under_another_name_of_the_server(visit: Visit, server: Served) -> None:
    """Films play where the page was opened by another name than the server's own."""
    ann, bob = await two(visit, url=server.url.replace("127.0.0.1", "localhost"))
    await speak(ann, bob)


async def test_who_was_here_before_comes_in_while_others_try_the_account(visit: Visit, serve: ServerFactory) -> None:
    server = await serve(max_failed_logins_per_account=1)
    ann = await visit(url=server.url)
    await ann.register("Ann")
    email = await ann.page.evaluate("JSON.parse(localStorage['bellwire.login']).user.email")
    await ann.page.click('.rail a[href="#/settings"]')
    await ann.page.click("button:has-text('Log out')")
    await ann.page.wait_for_selector(".enter")
    wrong = {"email": email, "password": "somebody's guess"}
    answers = [await server.people.anonymous.post("/api/v1/auth/login", wrong) for _ in range(2)]
    assert [each.status for each in answers] == [401, 429]
    await ann.page.fill("input[name=email]", email)
    await ann.page.fill("input[name=password]", PASSWORD)
    await ann.page.click("button[name=action]")
    await ann.page.wait_for_selector(".rail")


async def test_markdown_becomes_text_and_never_html(visit: Visit, server: Served) -> None:
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    chat = await ann.group(bob, name="Notes")
    cases = {
        "**bold** and *thin* and ~~gone~~": "<p dir='auto'><strong>bold</strong> and <em>thin</em> and <s>gone</s></p>",
        "2 * 3 * 4, snake_case_name, **open": "<p dir='auto'>2 * 3 * 4, snake_case_name, **open</p>",
        "`a <b> *c*`": "<p dir='auto'><code>a &lt;b&gt; *c*</code></p>",
        "```py\nif x:\n    <b>\n```": "<pre tabindex='0'><code>if x:\n    &lt;b&gt;</code></pre>",
        "> said\nanswer": "<blockquote dir='auto'>said</blockquote><p dir='auto'>answer</p>",
        "- one\n- two": "<ul><li dir='auto'>one</li><li dir='auto'>two</li></ul>",
        "3. three\n4. four": "<ol start='3'><li dir='auto'>three</li><li dir='auto'>four</li></ol>",
        "see https://example.org/a_(b), or (www.example.org).": (
            "<p dir='auto'>see <a href='https://example.org/a_(b)' {0}>https://example.org/a_(b)</a>, or "
            "(<a href='https://www.example.org' {0}>www.example.org</a>).</p>"
        ).format("target='_blank' rel='noopener noreferrer nofollow'"),
        "javascript:alert(1) [x](javascript:alert(1)) <img src=x onerror=alert(1)>": (
            "<p dir='auto'>javascript:alert(1) [x](javascript:alert(1)) &lt;img src=x onerror=alert(1)&gt;</p>"
        ),
    }
    for text in cases:
        await ann.send(chat, text)
    visitor = await visit()
    await visitor.enter_as(bob)
    await visitor.open_chat("Notes")
    shown = visitor.page.locator(".message .content")
    await expect(shown).to_have_count(len(cases))
    for place, html in enumerate(cases.values()):
        assert await shown.nth(place).inner_html() == html.replace("'", '"')


async def test_a_text_that_is_all_markers_is_drawn_at_once(visit: Visit, server: Served) -> None:
    """What is not closed is looked for once: a page that looked again for each would hang."""
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    chat = await ann.group(bob, name="Notes")
    texts = [
        "www." * 2000 + "!" * 7000 + "[",
        "*a " * 5000,
        "`" * 16_000,
        "[" * 16_000,
        "> " * 8000,
        "_" * 16_000,
        "**" * 8000,
        "@" * 16_000,
        "www." * 4000,
    ]
    for text in texts:
        await ann.send(chat, text.strip())
    visitor = await visit()
    await visitor.enter_as(bob)
    await visitor.open_chat("Notes")
    await expect(visitor.page.locator(".message .content")).to_have_count(len(texts))


async def test_a_chat_opens_at_the_first_unread_message(visit: Visit, server: Served) -> None:
    """With 400 unread messages: what was not on the screen stays unread."""
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    chat = await ann.group(bob, name="Busy")
    for start in range(0, 430, 43):
        await asyncio.gather(*(ann.send(chat, f"number {start + index}") for index in range(43)))
    items = (await bob.get(f"/api/v2/messages?chatId={chat}&limit=200")).json["items"]
    before = items[0]["seq"]
    older = (await bob.get(f"/api/v2/messages?chatId={chat}&limit=200&before={before}")).json["items"]
    read, unread = older[-171], older[-170:] + items
    await bob.post(f"/api/v2/messages/{read['_id']}/read")
    visitor = await visit()
    await visitor.enter_as(bob)
    await visitor.open_chat("Busy")
    page = visitor.page
    await expect(page.locator(".divider")).to_be_in_viewport()
    await expect(page.locator(f"#m-{unread[0]['_id']}")).to_be_in_viewport()
    await expect(page.locator(f"#m-{items[-1]['_id']}")).to_have_count(0)

    async def count() -> int:
        return int((await bob.get(f"/api/v2/chats/{chat}")).json["unreadCount"])

    async with asyncio.timeout(HANG_SECONDS):
        while await count() == len(unread):
            await asyncio.sleep(0.05)
    assert len(unread) - 60 < await count() < len(unread)
    await expect(page.locator("button.newest .badge")).to_have_count(1)
    await page.click("button.newest")
    await expect(page.locator(f"#m-{items[-1]['_id']}")).to_be_in_viewport()
    async with asyncio.timeout(HANG_SECONDS):
        while await count():
            await asyncio.sleep(0.05)
    await expect(page.locator(".badge")).to_have_count(0)


async def test_a_mention_is_completed_and_marked(visit: Visit, server: Served) -> None:
    ann, bob = await server.people.make("Ann"), await server.people.make("Özgür Bal")
    await ann.group(bob, name="Team")
    writer, reader = await visit(), await visit()
    await writer.enter_as(ann)
    await reader.enter_as(bob)
    for each in (writer, reader):
        await each.open_chat("Team")
    await writer.page.type(".composer textarea", "hello @ozg")
    await expect(writer.page.locator(".suggestions bdi")).to_have_text(["Özgür Bal"])
    await writer.page.keyboard.press("Enter")
    await expect(writer.page.locator(".composer textarea")).to_have_value("hello @Özgür Bal ")
    await writer.page.keyboard.press("Enter")
    await reader.sees("hello @Özgür Bal")
    await expect(reader.page.locator(".message.mentioned .mention.me")).to_have_text("@Özgür Bal")
    await expect(writer.page.locator(".message .mention")).to_have_text("@Özgür Bal")


async def test_a_message_is_pinned_and_forwarded(visit: Visit, server: Served) -> None:
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    chat, other = await ann.group(bob, name="From"), await ann.group(bob, name="To")
    message = (await bob.send(chat, "keep <b>this</b>"))["_id"]
    visitor = await visit()
    await visitor.enter_as(ann)
    await visitor.open_chat("From")
    page = visitor.page

    async def choose(entry: str) -> None:
        await page.hover(f"#m-{message}")
        await page.click(f"#m-{message} .open-menu")
        await page.click(f".menu button:has-text('{entry}') >> nth=0")

    await choose("Pin")
    await expect(page.locator(".pinned")).to_contain_text("keep <b>this</b>")
    assert await violations(visitor) == []
    await choose("Unpin")
    await expect(page.locator(".pinned")).to_have_count(0)
    await choose("Forward")
    await page.check("dialog li:has-text('To') input")
    assert await violations(visitor) == []
    await page.click("dialog button:has-text('Forward')")
    await visitor.open_chat("To")
    await visitor.sees("keep <b>this</b>")
    await expect(page.locator(".message .forwarded")).to_have_count(1)
    assert (await ann.get(f"/api/v2/messages?chatId={other}")).json["items"][0]["forwarded"] is True


async def test_settings_of_the_account(visit: Visit, server: Served) -> None:
    ann = await visit()
    await ann.register("Ann")
    page = ann.page
    email = await page.evaluate("JSON.parse(localStorage['bellwire.login']).user.email")
    await page.click('.rail a[href="#/settings"]')
    await page.select_option("select[name=theme]", "dark")
    assert await page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    await page.fill("input[name=from]", "22:00")
    await page.fill("input[name=to]", "07:00")
    await page.click("form:has(input[name=from]) button:has-text('Save')")
    await expect(page.locator(".notice")).to_have_text("Saved.")
    await page.fill("input[name=old]", PASSWORD)
    await page.fill("input[name=password]", "another password")
    await page.click("section form button:has-text('Change password')")
    await expect(page.locator(".notice")).to_contain_text("Password changed")
    await page.reload()
    await expect(page.locator("input[name=from]")).to_have_value("22:00")
    other = await visit()
    await other.page.goto(other.url)
    await other.page.fill("input[name=email]", email)
    await other.page.fill("input[name=password]", "another password")
    await other.page.click("button[aria-label='Show password']")
    await expect(other.page.locator("input[name=password]")).to_have_attribute("type", "text")
    await other.page.click("button[name=action]")
    await other.online()
    await page.reload()
    await page.click("button:has-text('End all other sessions')")
    await expect(other.page.locator("button[name=action]")).to_have_count(1)
    async with page.expect_download() as download:
        await page.click("button:has-text('Download my data')")
    assert '"name":"Ann"' in Path(await (await download.value).path()).read_text()
    await page.click("button:has-text('Delete account')")
    await page.fill("dialog input[name=text]", "Ann")
    await page.click("dialog button.danger")
    await expect(page.locator("[role=alert]")).to_have_text("Your account has been deleted.")


async def test_a_picture_of_the_user(visit: Visit) -> None:
    ann, bob = await two(visit)
    await ann.page.click('.rail a[href="#/settings"]')
    await ann.page.set_input_files(
        ".settings input[type=file]", {"name": "me.jpg", "mimeType": "image/jpeg", "buffer": photo(900, 300)}
    )
    await expect(ann.page.locator(".settings .avatar img").first).to_have_js_property("naturalWidth", 256)
    await bob.page.reload()
    await ann.say("hello")
    await expect(bob.page.locator(".message .content")).to_have_text("hello")
    await bob.page.fill(".find input", "Ann")
    await expect(bob.page.locator(".results .avatar img")).to_have_js_property("naturalWidth", 256)
    await ann.page.click("button:has-text('Remove')")
    await expect(ann.page.locator(".settings .avatar img")).to_have_count(0)
