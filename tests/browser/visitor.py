"""Somebody in front of a browser: a page of their own, what they can do with it, and what must not happen in it."""

import os
import re
import shutil
from pathlib import Path
from typing import Any, Self

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, FilePayload, Page, Playwright, expect

from tests.support.guard import HANG_SECONDS
from tests.support.people import Person

expect.set_options(timeout=HANG_SECONDS * 1000)

FLAGS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
# What a browser says of a network that was cut.
NETWORK = re.compile(r"net::ERR_|WebSocket connection to|Failed to load resource")
PASSWORD = "correct horse"
AXE = Path("tests/node_modules/axe-core/axe.min.js")


def chromium() -> str:
    """The browser's program: that of CHROMIUM, or the system's. Missing is a failure, not a skip."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "no Chromium: run make install, or set CHROMIUM"
    return found


async def launch(playwright: Playwright) -> Browser:
    return await playwright.chromium.launch(executable_path=chromium(), args=FLAGS, timeout=HANG_SECONDS * 1000)


class Visitor:
    """``problems`` collects what the page complained of; a test ends with none."""

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context = context
        self.page = page
        self.url = url
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._said)

    @classmethod
    async def come(cls, browser: Browser, url: str, **options: Any) -> Self:
        context = await browser.new_context(
            **{"locale": "en-US", "viewport": {"width": 1200, "height": 800}, **options}
        )
        context.set_default_timeout(HANG_SECONDS * 1000)
        return cls(context, await context.new_page(), url)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not NETWORK.search(message.text):
            self.problems.append(message.text)

    async def register(self, name: str) -> str:
        """Come as somebody new, by the form; one's id."""
        page = self.page
        await page.goto(self.url)
        await page.click(".enter p.inline button >> nth=0")
        await page.fill("input[name=name]", name)
        await page.fill("input[name=email]", f"{os.urandom(6).hex()}@example.org")
        await page.fill("input[name=password]", PASSWORD)
        await page.click("button[name=action]")
        await page.wait_for_selector(".rail")
        return str(await page.evaluate("JSON.parse(localStorage['bellwire.login']).user.id"))

    async def enter_as(self, person: Person, permissions: list[str] | None = None) -> None:
        """Be somebody who has a token already."""
        user = {"id": person.id, "name": person.user.name, "permissions": permissions or []}
        login = {"user": user, "access": person.token, "refresh": "", "expires": 2**53}
        await self.page.goto(f"{self.url}/healthz")
        await self.page.evaluate("login => { localStorage['bellwire.login'] = JSON.stringify(login) }", login)
        await self.page.goto(self.url)
        await self.online()

    async def online(self) -> None:
        await expect(self.page.locator(".banner")).to_have_count(0)
        await expect(self.page.locator(".rail")).to_have_count(1)

    async def chat_with(self, name: str) -> None:
        await self.page.click('.rail a[href="#/chats"]')
        await self.page.fill(".find input", name)
        await self.page.press(".find input", "Enter")
        await self.page.click(f'.found button:has-text("{name}")')
        await self.has_open(name)

    async def open_chat(self, title: str) -> None:
        await self.page.click(f'.chats a:has-text("{title}")')
        await self.has_open(title)

    async def has_open(self, title: str) -> None:
        await expect(self.page.locator("main h1")).to_contain_text(title)
        await self.page.wait_for_selector(".composer")

    async def say(self, text: str) -> None:
        await self.page.fill(".composer textarea", text)
        await self.page.press(".composer textarea", "Enter")

    async def send_file(self, file: FilePayload, caption: str = "") -> None:
        await self.page.set_input_files("input[type=file]", file)
        await self.page.fill("dialog input[name=caption]", caption)
        await self.page.press("dialog input[name=caption]", "Enter")

    async def sees(self, *texts: str) -> None:
        """These messages, once each, in this order, and nothing waiting."""
        await expect(self.page.locator(".message:not(.waiting) .content")).to_have_text(list(texts))
        await expect(self.page.locator(".message.waiting")).to_have_count(0)


async def violations(visitor: Visitor) -> list[str]:
    """What axe-core finds by the rules of WCAG 2.2 A and AA."""
    await visitor.page.evaluate(AXE.read_text())
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    result = await visitor.page.evaluate("tags => axe.run({ runOnly: tags })", tags)
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in result["violations"]]
