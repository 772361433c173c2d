"""The socket's reference as a page: every event is on it."""

from playwright.async_api import expect

from realtime.namespace import INBOUND
from realtime.schema.events import OUTBOUND
from tests.browser.conftest import Visit
from tests.browser.visitor import violations
from tests.conftest import Served


async def test_every_event_is_on_the_page(visit: Visit, server: Served) -> None:
    visitor = await visit()
    page = visitor.page
    await page.goto(f"{server.url}/docs/socket")
    sections = page.locator("section h3")
    await expect(sections).to_have_count(len(INBOUND) + len(OUTBOUND) + 1)
    assert sorted(await sections.all_inner_texts()) == sorted(["connect", *INBOUND, *OUTBOUND])
    sent = page.locator("#message_send")
    await expect(sent).to_contain_text("clientMessageId")
    await expect(sent).to_contain_text("Acknowledgement: data")
    await expect(page.locator("#on_message_new")).to_contain_text("channel")
    assert await violations(visitor) == []
