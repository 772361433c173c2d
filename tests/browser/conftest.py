"""A real browser: the system's Chromium."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright

from tests.browser.visitor import Visitor, launch
from tests.conftest import Served

Visit = Callable[..., Awaitable[Visitor]]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        made = await launch(playwright)
        yield made
        await made.close()


@pytest.fixture
async def visit(server: Served, browser: Browser) -> AsyncIterator[Visit]:
    """Open the server's page, or what ``url`` names; at the end no page has complained."""
    visitors: list[Visitor] = []

    async def come(url: str | None = None, **options: Any) -> Visitor:
        visitors.append(await Visitor.come(browser, url or server.url, **options))
        return visitors[-1]

    yield come
    assert [each.problems for each in visitors] == [[] for _ in visitors]
