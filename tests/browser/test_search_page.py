"""Searching and moderating in front of the page."""

import asyncio

from playwright.async_api import expect

from tests.browser.conftest import Visit
from tests.browser.test_monitor_page import admin_at
from tests.browser.visitor import AXE, Visitor
from tests.conftest import Served
from tests.support.people import Person

EVIL = "<img src=x onerror=document.title='hit'> plum"


async def enter(visit: Visit, person: Person) -> Visitor:
    visitor = await visit()
    await visitor.enter_as(person)
    return visitor


async def accessible(visitor: Visitor) -> None:
    await visitor.page.evaluate(AXE.read_text())
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    result = await visitor.page.evaluate("tags => axe.run({ runOnly: tags })", tags)
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in result["violations"]] == []


async def test_people_chats_and_messages_are_found_as_one_types(visit: Visit, server: Served) -> None:
    ann, bob = await server.people.make("Ann"), await server.people.make("Plumtree Bob")
    chat = await ann.group(bob, name="Plums of İzmir")
    message = await bob.send(chat, "👍 the red PLUM tree")
    await bob.send(chat, EVIL)
    visitor = await enter(visit, ann)
    page = visitor.page
    await page.locator(".find input").press_sequentially("plum")
    results = page.locator(".results")
    await expect(results.locator("h3")).to_have_text(["People", "Chats", "Messages"])
    await expect(results.locator(".found button")).to_contain_text("Plumtree Bob")
    await expect(results.locator(".found a")).to_contain_text("Plums of İzmir")
    await expect(results.locator(".hits a")).to_have_count(2)
    await expect(results.locator(".hits mark")).to_have_text(["plum", "PLUM"])
    await expect(page.locator(".chats")).to_be_hidden()
    await accessible(visitor)
    assert await page.title() != "hit"
    await results.locator(".hits a").nth(1).click()
    shown = page.locator(f"#m-{message['_id']}")
    await expect(shown).to_be_in_viewport()
    await page.locator(".find input").press("Escape")
    await expect(results).to_have_count(0)
    await expect(page.locator(".chats a")).to_have_count(1)
    await page.fill(".find input", "izmir")
    await expect(results.locator(".found a")).to_contain_text("Plums of İzmir")
    await page.fill(".find input", "nothing like it")
    await expect(results).to_contain_text("No results")


async def test_a_jump_to_an_old_message_and_back(visit: Visit, server: Served) -> None:
    """With its neighbours; what comes below is loaded while one scrolls, until the newest."""
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    chat = await ann.group(bob, name="Long")
    sent = [await bob.send(chat, f"line {number}") for number in range(260)]
    old = sent[60]
    visitor = await enter(visit, ann)
    page = visitor.page
    await page.goto(f"{visitor.url}/#/chat/{chat}/{old['_id']}")
    shown = page.locator(f"#m-{old['_id']}")
    await expect(shown).to_be_in_viewport()
    lines = page.locator(".message .content")
    texts = await lines.all_text_contents()
    assert "line 60" in texts and "line 259" not in texts
    new = await bob.send(chat, "the newest")
    await expect(page.locator(f"#m-{new['_id']}")).to_have_count(0)

    async def at_the_end() -> bool:
        await page.locator(".scroller").evaluate("each => { each.scrollTop += 2000 }")
        return await page.locator(f"#m-{new['_id']}").count() == 1

    while not await at_the_end():
        await asyncio.sleep(0.05)
    texts = await lines.all_text_contents()
    first = int(texts[0].removeprefix("line "))
    assert texts == [*(f"line {number}" for number in range(first, 260)), "the newest"]
    await page.goto(f"{visitor.url}/#/chat/{chat}/{sent[10]['_id']}")
    await expect(page.locator(f"#m-{sent[10]['_id']}")).to_be_in_viewport()
    await page.click("button.newest")
    await expect(lines.last).to_have_text("the newest")
    await expect(lines.last).to_be_in_viewport()


async def test_a_reply_is_shown_in_its_thread(visit: Visit, server: Served) -> None:
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    chat = await ann.group(bob, name="Threads")
    root = await bob.send(chat, "the root")
    await bob.send(chat, "a quince in a thread", threadId=root["_id"])
    visitor = await enter(visit, ann)
    await visitor.page.fill(".find input", "quince")
    await visitor.page.click(".hits a")
    await expect(visitor.page.locator(".panel .thread")).to_contain_text("a quince in a thread")


async def test_a_moderator_silences_bans_and_lifts(visit: Visit, server: Served) -> None:
    ann, bob, cat = [await server.people.make(name) for name in ("Ann", "Bob", "Cat")]
    chat = await ann.group(bob, cat, name="Group")
    await ann.patch(f"/api/v2/chats/{chat}/members/{cat.id}", {"role": "moderator"})
    message = await bob.send(chat, "rude words")
    moderator, member = await enter(visit, cat), await enter(visit, bob)
    for each in (moderator, member):
        await each.page.goto(f"{each.url}/#/chat/{chat}")
        await each.page.wait_for_selector(".message")
    page = moderator.page
    await page.hover(f"#m-{message['_id']}")
    await page.click(f"#m-{message['_id']} .open-menu")
    await page.click(".menu button:has-text('Mute')")
    await accessible(moderator)
    await page.select_option("dialog select[name=duration]", "hour")
    await page.click("dialog button.danger")
    await expect(member.page.locator(".composer")).to_contain_text("You are muted until")
    await page.click("main button[aria-label=More]")
    bobs = page.locator("dialog li:has-text('Bob')")
    await bobs.locator("summary").click()
    await bobs.locator("button:has-text('Unmute')").click()
    await expect(member.page.locator(".composer textarea")).to_have_count(1)
    await expect(page.locator("dialog li:has-text('Ann') summary")).to_have_count(0)
    await bobs.locator("button.danger").click()
    ban = page.locator("dialog:has-text('Delete messages')").last
    await ban.locator("select[name=erase]").select_option("all")
    await ban.locator("input[name=reason]").fill("spam")
    await ban.locator("button.danger").click()
    await expect(member.page.locator(".chats a")).to_have_count(0)
    await expect(page.locator(f"#m-{message['_id']}")).to_contain_text("deleted")
    bans = page.locator("dialog li:has-text('spam')")
    await expect(bans).to_contain_text("Until lifted")
    await bans.locator("button").click()
    await expect(bans).to_have_count(0)


async def test_rules_of_a_chat(visit: Visit, server: Served) -> None:
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    chat = await ann.group(bob, name="Group")
    owner, member = await enter(visit, ann), await enter(visit, bob)
    for each in (owner, member):
        await each.page.goto(f"{each.url}/#/chat/{chat}")
        await each.page.wait_for_selector(".composer")
    await owner.page.click("main button[aria-label=More]")
    await owner.page.check("dialog label:has-text('Freeze') input")
    await expect(member.page.locator(".composer")).to_have_text("This chat is frozen. Only moderators can post.")
    await owner.page.uncheck("dialog label:has-text('Freeze') input")
    await owner.page.select_option("dialog label:has-text('Slow mode') select", "3600")
    await expect(member.page.locator(".rule")).to_have_text("Slow mode: one message every \u20681 hour\u2069.")
    await member.say("the first")
    await expect(member.page.locator(".rule")).to_contain_text("you can send again in")
    await member.page.fill(".composer textarea", "too soon")
    await expect(member.page.locator(".composer button.send")).to_be_disabled()
    await owner.page.select_option("dialog label:has-text('Slow mode') select", "0")
    await expect(member.page.locator(".composer button.send")).to_be_enabled()
    await owner.page.check("dialog label:has-text('links') input")
    await member.page.fill(".composer textarea", "see www.example.org")
    await member.page.press(".composer textarea", "Enter")
    await expect(member.page.locator(".message.refused")).to_contain_text("Only moderators can post links")


async def test_reports_in_the_monitor(visit: Visit, server: Served) -> None:
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    chat = await ann.group(bob, name="Group")
    lines = [await bob.send(chat, f"line {number}") for number in range(3)]
    evil = await bob.send(chat, EVIL)
    for each in (evil, lines[1]):
        assert (await ann.post(f"/api/v2/messages/{each['_id']}/report", {"reason": "rude"})).status == 201
    admin = await admin_at(visit, server)
    page = admin.page
    page.on("dialog", lambda dialog: dialog.accept())
    await page.click(".tabs a:has-text('Moderation')")
    await expect(page.locator(".report")).to_have_count(2)
    await expect(page.locator(".report blockquote").first).to_contain_text("Bob")
    first = page.locator(".report").first
    await expect(first).to_contain_text("Reported by \u2068Ann\u2069")
    await first.locator("button:has-text('Context')").click()
    await expect(first.locator(".context li")).to_have_count(4)
    await expect(first.locator(".context .reported")).to_contain_text("line 1")
    await accessible(admin)
    await first.locator("button:has-text('Delete message')").click()
    await expect(page.locator(".report")).to_have_count(1)
    assert (await ann.get(f"/api/v2/messages/{lines[1]['_id']}")).json["content"] is None
    await page.locator(".report button:has-text('Ban')").click()
    await expect(page.locator(".report")).to_have_count(0)
    assert (await bob.get(f"/api/v2/chats/{chat}")).status == 404
    await page.select_option(".card select[aria-label=Status]", "actioned")
    await expect(page.locator(".report")).to_have_count(2)
    await page.click("button:has-text('New list')")
    await page.fill("input[name=name]", "rude")
    await page.fill("textarea[name=words]", "muddlehead\nvery bad thing")
    # The page looks at the reports every ten seconds, and draws itself again.
    async with page.expect_response(lambda response: "/admin/reports?" in response.url):
        pass
    await expect(page.locator("input[name=name]")).to_have_value("rude")
    await accessible(admin)
    await page.click(".card form button:has-text('Save')")
    await expect(page.locator(".card li.row:has-text('rude')")).to_contain_text("2 entries")
    answer = await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "Muddlehead"})
    assert answer.status == 400
    await page.click(".card li.row:has-text('rude') button")
    await page.click(".card form button:has-text('Delete')")
    await expect(page.locator(".card li.row:has-text('rude')")).to_have_count(0)
    assert await page.title() != "hit"
