"""The page of all routes: it is the one that the code makes, and its requests are good ones."""

import itertools
import re
import shlex
from pathlib import Path

import aiohttp

from server import reference
from server.routes import ROUTES
from tests.conftest import ServerFactory
from tests.support.files import encoded

# What they ask for is not there, or not theirs; nothing is wrong with how they ask.
GOOD = {200, 201, 401, 403, 404, 409}


def test_the_page_is_the_newest() -> None:
    assert Path("docs/rest.md").read_text() == reference.page(), "run: python -m server.reference > docs/rest.md"
    headings = re.findall(r"^### `(\w+ \S+)`$", reference.page(), re.MULTILINE)
    assert headings == [f"{route.method} {route.path}" for route in ROUTES]


async def test_its_requests_are_good(serve: ServerFactory) -> None:
    server = await serve()
    admin = await server.people.make(grant=["admin", "platform.admin"])
    tenant = server.services.accounts
    uuid = (await tenant.tenant(None)).uuid
    wrong = []
    for block in re.findall(r"(?:^    .*\n)+", reference.page(), re.MULTILINE):
        command = shlex.split(block.replace("\\\n", " ").replace("$TENANT", uuid).replace("$TOKEN", admin.token or ""))
        if command[0] != "curl":
            continue
        method = command[command.index("-X") + 1] if "-X" in command else "GET"
        url = next(word for word in command if word.startswith(reference.HERE)).replace(reference.HERE, server.url)
        headers = dict(word.split(": ", 1) for flag, word in itertools.pairwise(command) if flag == "-H")
        data: object = command[command.index("-d") + 1] if "-d" in command else None
        if "-F" in command:
            data = aiohttp.FormData()
            data.add_field("file", encoded("PNG"), filename="a.png")
        method = "POST" if method == "GET" and data is not None else method
        if (method, url.rpartition("/")[2]) == ("DELETE", "me"):
            continue
        async with admin.session.request(method, url, headers=headers, data=data) as answer:
            if answer.status not in GOOD:
                wrong.append(f"{method} {url} {data}: {answer.status} {await answer.text()}")
    assert not wrong, "\n".join(wrong)
