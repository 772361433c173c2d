"""Every view of the pages: its rules of accessibility, and texts that try to break it."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from playwright.async_api import Browser

from tests.browser.views import monitor_views, populate, views
from tests.browser.visitor import AXE, Visitor, violations
from tests.conftest import Served
from tests.support.people import Person

# Markup that runs where it is put in as such, an end of an attribute, and a mark that turns what follows around.
HOSTILE = " <img src=x onerror=\"document.title='hit'\">'\"><script>document.title='hit'</script>\u202e{{7*7}}${7*7}"
SIZES = {"wide": {"width": 1280, "height": 800}, "narrow": {"width": 390, "height": 844}}
Tour = Callable[[Visitor, str], AsyncIterator[str]]
Look = Callable[[Visitor], Awaitable[list[str]]]


async def look_at_all(
    browser: Browser,
    server: Served,
    people: tuple[Person, Person],
    look: Callable[[Visitor], Awaitable[list[str]]],
    **options: object,
) -> dict[str, list[str]]:
    """What ``look`` finds, and in which views."""
    found: dict[str, list[str]] = {}
    stranger = await Visitor.come(browser, server.url, **options)
    await stranger.page.goto(server.url)
    await stranger.page.wait_for_selector("button[name=action]")
    found.update({each: ["enter"] for each in await look(stranger)})
    await stranger.context.close()
    seen = 1
    admin, user = people
    tours: list[tuple[Person, list[str], Tour]] = [(user, [], views), (admin, ["admin"], monitor_views)]
    for person, permissions, tour in tours:
        visitor = await Visitor.come(browser, server.url, **options)
        await visitor.enter_as(person, permissions)
        async for view in tour(visitor, server.url):
            seen += 1
            for each in await look(visitor):
                found.setdefault(each, []).append(view)
        assert visitor.problems == []
        await visitor.context.close()
    assert seen > 25
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_view_is_accessible(browser: Browser, server: Served, scheme: str, size: str) -> None:
    """By axe-core's rules: WCAG 2.2 A and AA, contrast among them, and best practice."""
    assert AXE.exists(), "no axe-core: run make install"
    people = await populate(server.people)
    options = {"color_scheme": scheme, "viewport": SIZES[size]}
    assert await look_at_all(browser, server, people, violations, **options) == {}


@pytest.mark.parametrize("size", SIZES)
async def test_hostile_texts_are_harmless_in_every_view(browser: Browser, server: Served, size: str) -> None:
    """Names, titles, reasons, captions, names of files: nothing runs, and nothing is wider than the page."""

    async def look(visitor: Visitor) -> list[str]:
        page = visitor.page
        checks = {
            "a script ran": "document.title.includes('hit')",
            "markup became an element": "document.querySelector('img[src=x], script:not([src]):not([type])') !== null",
            "the page is wider than the screen": "document.documentElement.scrollWidth > innerWidth",
        }
        return [what for what, check in checks.items() if await page.evaluate(check)]

    people = await populate(server.people, HOSTILE)
    assert await look_at_all(browser, server, people, look, viewport=SIZES[size]) == {}
