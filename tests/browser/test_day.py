"""A day of two people and a moderator, in three browsers."""

from playwright.async_api import Locator, expect

from tests.browser.conftest import Cuttable, Visit
from tests.browser.visitor import Visitor
from tests.conftest import Served


async def choose(visitor: Visitor, text: str, entry: str) -> None:
    """An entry of the menu of the message with this text."""
    message = visitor.page.locator(f".messages .message:has-text('{text}')").first
    await message.hover()
    await message.locator(".open-menu").click()
    await visitor.page.click(f".menu:popover-open button:has-text('{entry}') >> nth=0")


def messages(visitor: Visitor) -> Locator:
    return visitor.page.locator(".messages .message:not(.waiting):not(.refused) .content")


async def test_a_day(visit: Visit, server: Served, cuttable: Cuttable) -> None:
    admin = await server.people.make("Root", permissions=["admin"], grant=["admin"])
    ann, bob, mod = [await visit(url=cuttable.url) for _ in range(3)]

    # In the morning all three register, Ann finds the others and makes a group with a moderator.
    ann_id = await ann.register("Ann Gardener")
    await bob.register("Bob Baker")
    await mod.register("Mo Derator")
    await ann.page.click("button[aria-label='New group']")
    for name in ("Bob Baker", "Mo Derator"):
        await ann.page.fill("dialog .find input", name)
        await ann.page.press("dialog .find input", "Enter")
        await ann.page.click(f"dialog .found li:has-text('{name}')")
    await ann.page.fill("dialog input[name=name]", "Rose club")
    await ann.page.click("dialog button:has-text('Create')")
    await ann.page.wait_for_selector(".composer")
    await ann.page.click(".conversation > header button[aria-label=More]")
    row = ann.page.locator("dialog .found li:has-text('Mo Derator')")
    await row.locator("summary").click()
    await row.locator("select[name=role]").select_option("moderator")
    await row.locator("button:has-text('Save')").click()
    await expect(row.locator(".hint").first).to_have_text("moderator")
    await ann.page.keyboard.press("Escape")

    # They chat, react, answer in a thread and mention each other.
    for each in (bob, mod):
        await each.open_chat("Rose club")
    await ann.say("Good morning! Who waters the **roses** today?")
    await expect(messages(bob)).to_have_text(["Good morning! Who waters the roses today?"])
    await bob.page.hover(".messages .message")
    await bob.page.click(".messages .message .open-menu")
    await bob.page.click(".offered button >> nth=0")
    await expect(ann.page.locator(".reactions button")).to_contain_text("1")
    await choose(mod, "Who waters", "Reply in thread")
    await mod.page.fill(".panel input[name=reply]", "I did it yesterday.")
    await mod.page.press(".panel input[name=reply]", "Enter")
    await expect(ann.page.locator(".messages .replies")).to_have_text("1 reply")
    await ann.page.type(".composer textarea", "@bob")
    await expect(ann.page.locator(".suggestions bdi")).to_have_text(["Bob Baker"])
    await ann.page.keyboard.press("Enter")
    await ann.page.type(".composer textarea", "please take the tulips at 17:00")
    await ann.page.keyboard.press("Enter")
    await expect(bob.page.locator(".message.mentioned .mention.me")).to_have_text("@Bob Baker")

    # At noon Bob looks for what Ann wanted, and gets credits for seeds.
    await bob.page.locator(".find input").press_sequentially("tulip")
    await bob.page.click(".results .hits a")
    await expect(bob.page.locator(".message.shown .content")).to_contain_text("please take the tulips")
    await bob.page.locator(".find input").press("Escape")
    granted = await admin.post("/api/v1/credits/grants", {"userId": ann_id, "amount": 100})
    assert granted.status == 201
    await ann.chat_with("Bob Baker")
    await ann.page.click("button[aria-label='Send credits']")
    await ann.page.fill("dialog input[name=amount]", "40")
    await ann.page.click("dialog button:has-text('Next')")
    await ann.page.click("dialog form button:has-text('Send credits')")
    await bob.open_chat("Ann Gardener")
    await expect(bob.page.locator(".message .credits")).to_have_text("40 credits from \u2068Ann Gardener\u2069")
    await bob.page.click('.rail a[href="#/credits"]')
    await expect(bob.page.locator(".balance b")).to_have_text("40")

    # In the afternoon Bob advertises; Ann reports it, the moderator silences him, and he is told why he can't write.
    await bob.page.click('.rail a[href="#/chats"]')
    await bob.open_chat("Rose club")
    await ann.open_chat("Rose club")
    await bob.say("Buy my bread! Buy my bread!")
    await expect(messages(ann).last).to_have_text("Buy my bread! Buy my bread!")
    await choose(ann, "Buy my bread", "Report")
    await ann.page.fill("dialog input[name=text]", "advertising")
    await ann.page.press("dialog input[name=text]", "Enter")
    await expect(ann.page.locator(".notice")).to_have_text("Report sent.")
    reports = (await admin.get("/api/v1/admin/reports?state=open")).json["data"]["items"]
    assert [each["reason"] for each in reports] == ["advertising"]
    await choose(mod, "Buy my bread", "Mute")
    await mod.page.click("dialog button.danger:has-text('Mute')")
    await expect(bob.page.locator(".composer textarea")).to_have_count(0)
    await expect(bob.page.locator("p.composer")).to_contain_text("muted")
    await choose(mod, "Buy my bread", "Delete")
    await mod.page.click("dialog button.danger:has-text('Delete')")
    for each in (ann, bob, mod):
        await expect(each.page.locator(".message:has-text('This message was deleted')")).to_have_count(1)

    # In the evening the network fails. What was written meanwhile is sent once when it is back.
    cuttable.cut()
    for each in (ann, bob, mod):
        await expect(each.page.locator(".banner")).to_contain_text("offline")
    await ann.say("Is anybody there?")
    await mod.say("I am offline, too.")
    await expect(ann.page.locator(".message.waiting")).to_have_count(1)
    cuttable.heal()
    for each in (ann, bob, mod):
        await each.online()
        await expect(each.page.locator(".message.waiting")).to_have_count(0)
        await expect(messages(each)).to_have_count(5)
    shown = [await messages(each).all_text_contents() for each in (ann, bob, mod)]
    assert shown[0] == shown[1] == shown[2]
    assert sorted(shown[0][3:]) == ["I am offline, too.", "Is anybody there?"]

    # Bob comes back in another browser, to the same chats, and is still silenced.
    again = await visit(url=cuttable.url)
    login = await bob.page.evaluate("localStorage['bellwire.login']")
    await again.page.goto(f"{again.url}/healthz")
    await again.page.evaluate("login => { localStorage['bellwire.login'] = login }", login)
    await again.page.goto(again.url)
    await again.online()
    await again.page.click(".chats a:has-text('Rose club')")
    await expect(messages(again)).to_have_text(shown[0])
    await expect(again.page.locator(".composer textarea")).to_have_count(0)
