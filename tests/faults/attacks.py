"""One user, or somebody without a token, does what is costly as fast as it goes: what others notice of it.

``python -m tests.faults.attacks`` starts a server with its own limits and runs each attack in a process of its own, while
others send messages, log in and upload; ``--only 2 8`` runs some. For each it prints the others' 95th percentile before
and during it, and how many of the attacker's calls were let through and refused.
"""

import argparse
import asyncio
import contextlib
import io
import json
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from PIL import Image
from rich.console import Console
from rich.table import Table

from tests.load.figures import percentile
from tests.load.wire import dial
from tests.support.files import encoded
from tests.support.people import Answer, Api
from tests.support.process import ServerProcess

AUTH, CHATS, MESSAGES, MEDIA = "/api/v1/auth", "/api/v2/chats", "/api/v2/messages", "/api/v2/media"
PASSWORD = "correct horse battery"
CROWD, GROUPS, CONNECTIONS, ACCOUNTS = 500, 150, 3_000, 200
MESSAGE_EVERY, LOGIN_EVERY, UPLOAD_EVERY = 0.02, 0.5, 0.5
SCAN = b"\xff\xda"
JSON = {"Content-Type": "application/json"}


# The attacker, in a process of its own


async def forever(works: list[Callable[[], Awaitable[Answer | None]]], counts: Counter[str]) -> None:
    """Each again as soon as it was answered."""

    async def again(work: Callable[[], Awaitable[Answer | None]]) -> None:
        while True:
            try:
                answer = await work()
                counts[str(answer.status if answer else 0)] += 1
            except (aiohttp.ClientError, OSError):
                counts["no answer"] += 1
                await asyncio.sleep(0.1)

    await asyncio.gather(*map(again, works))


async def documents(api: Api, world: dict[str, Any], counts: Counter[str]) -> None:
    await forever([lambda: api.get("/openapi.json")] * 4, counts)


async def groups(api: Api, world: dict[str, Any], counts: Counter[str]) -> None:
    body = {"type": "group", "name": "g", "memberIds": world["crowd"]}
    await forever([lambda: api.post(CHATS, body)] * 60, counts)


async def pictures(api: Api, world: dict[str, Any], counts: Counter[str]) -> None:
    """Progressive JPEGs of 7,000², of which one scan is repeated 1,200 times."""
    file = io.BytesIO()
    Image.new("L", (7_000, 7_000), 60).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    hostile = whole[:-2] + whole[whole.rindex(SCAN) : -2] * 1_200 + whole[-2:]
    heavy = encoded("PNG", (6_000, 6_000))

    def upload(data: bytes) -> Callable[[], Awaitable[Answer | None]]:
        async def send() -> Answer | None:
            form = aiohttp.FormData()
            form.add_field("file", data, filename="a.jpg")
            return await api.post(MEDIA, data=form)

        return send

    await forever([upload(hostile)] * 5 + [upload(heavy)] * 5, counts)


async def logins(api: Api, world: dict[str, Any], counts: Counter[str]) -> None:
    anonymous = Api(api.session, api.url)
    turn = iter(range(10**9))

    async def guess() -> Answer:
        email = f"account{next(turn) % ACCOUNTS}@example.org"
        headers = {"X-Forwarded-For": world["address"]}
        return await anonymous.post(f"{AUTH}/login", {"email": email, "password": "wrong"}, headers=headers)

    await forever([guess] * 200, counts)


async def passwords(api: Api, world: dict[str, Any], counts: Counter[str]) -> None:
    body = {"old": PASSWORD, "new": PASSWORD}
    await forever([lambda: api.post(f"{AUTH}/password", body)] * 60, counts)


async def foreign_tokens(api: Api, world: dict[str, Any], counts: Counter[str]) -> None:
    key = rsa.generate_private_key(65537, 2048)
    claims = {"sub": "1", "iat": int(time.time()), "exp": int(time.time()) + 600}

    async def ask(number: int) -> Answer:
        token = jwt.encode(claims, key, "RS256", headers={"kid": f"{number} {time.time()}"})
        return await Api(api.session, api.url, token).get("/api/v1/users/me")

    await forever([lambda number=number: ask(number) for number in range(36)], counts)  # type: ignore[misc]


async def minds(api: Api, world: dict[str, Any], counts: Counter[str]) -> None:
    turn = iter(range(10**9))

    async def change() -> Answer:
        verb = ("follow", "unfollow")[next(turn) % 2]
        return await api.post(f"/api/v1/streams/{world['stream']}/{verb}")

    await forever([change] * 4, counts)


async def lists(api: Api, world: dict[str, Any], counts: Counter[str]) -> None:
    await forever([lambda: api.get(f"{CHATS}?limit=200")] * 8, counts)


async def histories(api: Api, world: dict[str, Any], counts: Counter[str]) -> None:
    path = f"{MESSAGES}?chatId={world['chat']}&limit=200"
    await forever([lambda: api.get(path)] * 8, counts)


async def connections(api: Api, world: dict[str, Any], counts: Counter[str]) -> None:
    """Plain ones, a request each, then silence; the next where one is closed."""
    place = urlsplit(api.url)

    async def hold() -> Answer | None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        with contextlib.closing(writer):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.read(10**6)
            await reader.read()
        return None

    await forever([hold] * CONNECTIONS, counts)


async def bodies(api: Api, world: dict[str, Any], counts: Counter[str]) -> None:
    body = json.dumps({f"key{number}": number for number in range(15_000)})
    anonymous, headers = Api(api.session, api.url), {**JSON, "X-Forwarded-For": world["address"]}
    await forever([lambda: anonymous.request("POST", "/api/v1/notifications", data=body, headers=headers)] * 8, counts)


# The number of the finding, what others do meanwhile, and what is done.
ATTACKS: dict[str, tuple[str, Callable[[Api, dict[str, Any], Counter[str]], Awaitable[None]]]] = {
    "1 documents": ("messages", documents),
    "2 groups of 500": ("messages", groups),
    "3 pictures of many scans": ("uploads", pictures),
    "4 wrong log-ins of 200 accounts": ("logins", logins),
    "5 new passwords": ("logins", passwords),
    "6 tokens of an issuer that does not answer": ("logins", foreign_tokens),
    "7 follow and unfollow": ("messages", minds),
    "8 lists of chats": ("messages", lists),
    "8 histories": ("messages", histories),
    "9 idle connections": ("messages", connections),
    "11 large bodies without a token": ("messages", bodies),
}


async def attack(name: str, world: dict[str, Any]) -> None:
    counts: Counter[str] = Counter()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        api = Api(session, world["url"], world["token"])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(world["seconds"]):
                await ATTACKS[name][1](api, world, counts)
    print(json.dumps(counts))


# The others


class Others:
    """People who do one thing again and again; how long each time took, in seconds."""

    def __init__(self, api: Api, url: str, chat: str) -> None:
        self.api, self.url, self.chat = api, url, chat
        self.turn = iter(range(10**9))

    async def during(self, what: str, seconds: float) -> list[float]:
        took: list[float] = []
        work, every = {
            "messages": (self.message, MESSAGE_EVERY), "logins": (self.login, LOGIN_EVERY),
            "uploads": (self.upload, UPLOAD_EVERY),
        }[what]  # fmt: skip
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            began = time.monotonic()
            await work()
            took.append(time.monotonic() - began)
            await asyncio.sleep(max(0.0, every - took[-1]))
        return took

    async def message(self) -> None:
        body = {"type": "text", "chatId": self.chat, "content": "hello"}
        answer = await self.api.post(MESSAGES, body)
        assert answer.status == 201, answer

    async def login(self) -> None:
        number = next(self.turn) % 3
        body = {"email": f"other{number}@example.org", "password": PASSWORD}
        answer = await Api(self.api.session, self.url).post(f"{AUTH}/login", body)
        assert answer.status == 200, answer

    async def upload(self) -> None:
        """Of different users, for what one may upload is limited."""
        form = aiohttp.FormData()
        form.add_field("file", encoded("PNG", (64, 64)), filename="a.png")
        answer = await self.uploaders[next(self.turn) % len(self.uploaders)].post(MEDIA, data=form)
        assert answer.status == 201, answer

    uploaders: list[Api]


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """The URL of an issuer's keys at which somebody listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=1_000) as here:
        yield f"http://127.0.0.1:{here.getsockname()[1]}/keys"


async def run(only: list[str], seconds: float) -> list[list[str]]:
    """The rows of the table."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bellwire-attacks-")))
        keys = await stack.enter_async_context(silent())
        server = ServerProcess(folder / "data")
        # What tests leave unlimited counts here: these are the server's own limits.
        for name in [each for each in server.environment if each.startswith("BELLWIRE_MAX_")]:
            del server.environment[name]
        server.environment |= {
            "BELLWIRE_JWKS_URL": keys, "BELLWIRE_JWT_AUDIENCE": "bellwire", "BELLWIRE_TRUSTED_PROXIES": "127.0.0.1/32",
        }  # fmt: skip
        await stack.enter_async_context(server)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        world, others = await made(server, session, seconds)
        rows = []
        for name, (what, _) in ATTACKS.items():
            if only and name.split()[0] not in only:
                continue
            calm = await others.during(what, seconds)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.faults.attacks", "--attack", name, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            saying = asyncio.create_task(process.communicate(json.dumps(world).encode()))
            await asyncio.sleep(2)
            attacked = await others.during(what, seconds - 2)
            counts = json.loads((await saying)[0])
            before, after = percentile(calm, 0.95) * 1e3, percentile(attacked, 0.95) * 1e3
            said = ", ".join(f"{status}: {count}" for status, count in sorted(counts.items()))
            rows.append([name, what, f"{before:.0f}", f"{after:.0f}", f"{after / before:.1f}", said])
            await asyncio.sleep(seconds / 2)
        return rows


async def made(server: ServerProcess, session: aiohttp.ClientSession, seconds: float) -> tuple[dict[str, Any], Others]:
    """An attacker with many large groups, a stream, others, and accounts to be guessed at."""
    admin = await server.user(session, "admin@example.org", "--permission", "admin")
    anonymous = Api(session, server.url)

    async def register(name: str) -> Api:
        body = {"email": f"{name}@example.org", "password": PASSWORD, "name": name}
        answer = await anonymous.post(f"{AUTH}/register", body)
        assert answer.status == 201, answer
        return Api(session, server.url, answer.json["data"]["accessToken"])

    async def patiently(api: Api, path: str, body: Any) -> Any:
        while (answer := await api.post(path, body)).status == 429:
            await asyncio.sleep(int(answer.headers["Retry-After"]))
        assert answer.status in (200, 201), answer
        return answer.json.get("data", answer.json)

    attacker, *people = [await register(name) for name in ("attacker", "other0", "other1", "other2")]
    crowd = [(await patiently(admin, "/api/v1/users", {"name": f"user {number}"}))["id"] for number in range(CROWD)]
    me = (await attacker.get("/api/v1/users/me")).json["data"]["id"]
    for number in range(GROUPS):
        body = {"type": "group", "name": f"g{number}", "memberIds": [me, *crowd[1:]]}
        chat = (await patiently(admin, CHATS, body))["_id"]
    for number in range(1_000):
        await patiently(admin, MESSAGES, {"type": "text", "chatId": chat, "content": str(number)})
    stream = await patiently(admin, "/api/v1/streams", {"title": "s", "startsAt": "2099-01-01T00:00:00Z"})
    own = await patiently(people[0], CHATS, {"type": "group", "name": "others", "memberIds": []})
    world = {
        "url": server.url, "token": attacker.token, "crowd": crowd, "chat": chat, "stream": stream["id"],
        "seconds": seconds, "address": "9.9.9.9",
    }  # fmt: skip
    others = Others(people[0], server.url, own["_id"])
    others.uploaders = people
    wire = await dial(server.url, {"token": people[0].token, "v": 1})
    wire.heard = None
    return world, others


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.attacks", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="FINDING")
    parser.add_argument("--seconds", type=float, default=20, help="of each attack")
    parser.add_argument("--attack", choices=[*ATTACKS], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.attack:
        asyncio.run(attack(asked.attack, json.load(sys.stdin)))
        return
    table = Table("attack", "others", "calm p95, ms", "attacked p95, ms", "times", "answers to the attacker")
    for row in asyncio.run(run(asked.only, asked.seconds)):
        table.add_row(*row)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
