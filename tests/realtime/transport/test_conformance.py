"""What the protocols demand and libraries let pass, by raw bytes: RFC 6455, Engine.IO v4, Socket.IO v5, HTTP/1.1."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest

from realtime.transport.frame_check import FrameCheck
from tests.conftest import Served, ServerFactory
from tests.support.people import Person

SECONDS = 60
MASK = bytes((1, 2, 3, 4))
WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
POLLING = "/socket.io/?EIO=4&transport=polling"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Wire:
    """One TCP connection to the server."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.host = host
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def request(
        self, method: str, path: str, headers: dict[str, str], *, version: str = "1.1", body: bytes = b""
    ) -> None:
        lines = [f"{method} {path} HTTP/{version}", *(f"{name.strip()}: {value}" for name, value in headers.items())]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers of an answer."""
        async with asyncio.timeout(SECONDS):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = text.split("\r\n")[:-2]
        pairs = (line.split(": ", 1) for line in lines)
        return int(status.split(" ")[1]), {name.lower(): value for name, value in pairs}

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        async with asyncio.timeout(SECONDS):
            return status, headers, await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def frame(self) -> tuple[int, bytes]:
        """The opcode and the payload of a short frame of the server's."""
        async with asyncio.timeout(SECONDS):
            first, size = await self.reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            return first & 15, await self.reader.readexactly(size)

    async def text(self) -> str:
        opcode, payload = await self.frame()
        assert opcode == 1, (opcode, payload)
        return payload.decode()

    async def close_code(self) -> int:
        """Of the Close that ends what the server says; what stands before it is passed over."""
        while (frame := await self.frame())[0] != 8:
            continue
        return int.from_bytes(frame[1][:2], "big")

    async def ended(self) -> bytes:
        """What came until the server closed the connection."""
        async with asyncio.timeout(SECONDS):
            return await self.reader.read(-1)


def frame(
    payload: bytes, *, opcode: int = 1, final: bool = True, mask: bool = True, length: bytes | None = None
) -> bytes:
    size = len(payload)
    short = length if length is not None else bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    head = bytes([(128 if final else 0) | opcode, short[0] | (128 if mask else 0)]) + short[1:]
    return head + (MASK + bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload)) if mask else payload)


@contextlib.asynccontextmanager
async def connected(server: Served) -> AsyncIterator[Wire]:
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Wire(address.netloc, reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def websocket(server: Served) -> AsyncIterator[Wire]:
    """After the handshake and Engine.IO's opening."""
    async with connected(server) as wire:
        wire.request("GET", WEBSOCKET, {"Host": wire.host, **UPGRADE})
        assert (await wire.head())[0] == 101
        assert (await wire.text()).startswith("0{")
        yield wire


@contextlib.asynccontextmanager
async def in_chat(server: Served, person: Person) -> AsyncIterator[Wire]:
    """After ``session:ready``."""
    async with websocket(server) as wire:
        wire.send(frame(b"40/chat," + orjson.dumps(person.auth())))
        while "session:ready" not in await wire.text():
            continue
        yield wire


# Origins


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("chat.example.com", "http://chat.example.com", False),
        ("chat.example.com", "ws://chat.example.com", False),
        ("chat.example.com:8080", "http://chat.example.com:8080", False),
        ("chat.example.com.", "http://chat.example.com.", False),
        ("chat.example.com:8443", "https://chat.example.com:8443", True),
        ("chat.example.com", "https://chat.example.com", True),
        ("10.0.0.7:8080", "http://10.0.0.7:8080", True),
    ],
)
async def test_an_origin_under_the_public_name_has_its_scheme(
    serve: ServerFactory, host: str, origin: str, allowed: bool
) -> None:
    server = await serve(public_url="https://chat.example.com")
    answer = await server.people.anonymous.get(POLLING, headers={"Origin": origin, "Host": host})
    assert ("Access-Control-Allow-Origin" in answer.headers) is allowed


@pytest.mark.parametrize("own", [True, False])
async def test_an_origin_is_scheme_host_and_port(serve: ServerFactory, own: bool) -> None:
    """The official Swift client sends ``wss://`` and names the port in Host; proxies name an inner host."""
    settings: dict[str, Any] = {"hosts": ["chat.example.com"]} if own else {"public_url": "https://chat.example.com"}
    server = await serve(cors_origins=["file://", "https://shop.example.com/"], **settings)
    host = "chat.example.com:443" if own else "internal:8080"
    spellings = ["https://chat.example.com", "wss://chat.example.com", "https://chat.example.com:443"]
    spellings += ["https://CHAT.example.com", "https://chat.example.com/", "file://", "https://shop.example.com"]
    for origin in spellings:
        preflight = await server.people.anonymous.get(POLLING, headers={"Origin": origin, "Host": host})
        assert preflight.headers.get("Access-Control-Allow-Origin") == origin, origin
        credentials = preflight.headers.get("Access-Control-Allow-Credentials")
        assert credentials == ("true" if not own or origin in ("file://", "https://shop.example.com") else None), origin
    others = ["https://chat.example.com:8443", "https://chat.example.com.evil.org", "https://evil.org/chat.example.com"]
    others += [
        "null",
        "https://x@chat.example.com",
        "evil://chat.example.com",
        "https://",
        "file://host",
        "chat.example.com",
    ]
    for origin in [*others, "https://chat.example.com:99999", "https://[chat.example.com"]:
        refused = await server.people.anonymous.get(POLLING, headers={"Origin": origin, "Host": host})
        assert "Access-Control-Allow-Origin" not in refused.headers, origin


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8080", "[::1]:8080", "localhost", "LOCALHOST:1", "internal:8080", "10.0.0.7", "node.local", "api.internal:80",
     "chat.example.com", "Chat.Example.com.:443", "other.example.com", "shop.example.com"],
)  # fmt: skip
async def test_the_names_under_which_it_answers(serve: ServerFactory, host: str) -> None:
    server = await serve(
        public_url="https://chat.example.com", hosts=["other.example.com"], cors_origins=["https://shop.example.com"]
    )
    assert (await server.people.anonymous.get("/healthz", headers={"Host": host})).status == 200


@pytest.mark.parametrize("name", ["https://chat.example.org", "chat.example.org:443", "a b", "chat..org"])
async def test_a_name_of_the_settings_is_a_name_alone(serve: ServerFactory, name: str) -> None:
    with pytest.raises(ValueError, match="is not a host name such as"):
        await serve(hosts=name)


@pytest.mark.parametrize(
    "host", ["rebound.evil.org", "rebound.evil.org:80", "chat.example.com.evil.org", "evil.com:443"]
)
@pytest.mark.parametrize("path", ["/", "/api/v1/users/me", POLLING, "/openapi.json"])
async def test_a_name_that_is_made_to_lead_here_is_refused(server: Served, host: str, path: str) -> None:
    """A page of that name would be of the server's own origin, for its browser and for us (DNS rebinding)."""
    refused = await server.people.anonymous.get(path, headers={"Host": host, "Origin": f"http://{host}"})
    assert refused.status == 400 and "BELLWIRE_HOSTS" in refused.json["details"][0]["message"]
    assert "Access-Control-Allow-Origin" not in refused.headers


async def test_a_page_elsewhere_may_send_cookies_and_headers_where_it_is_named(serve: ServerFactory) -> None:
    server = await serve(cors_origins=["https://shop.example.com"])
    headers = {"Origin": "https://shop.example.com", "Access-Control-Request-Method": "GET"}
    headers["Access-Control-Request-Headers"] = "x-mine"
    answer = await server.people.anonymous.request("OPTIONS", POLLING, headers=headers)
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Access-Control-Allow-Headers"] == "x-mine"
    rest = {**headers, "Access-Control-Request-Headers": "traceparent, tracestate, if-match"}
    answer = await server.people.anonymous.request("OPTIONS", "/api/v2/chats", headers=rest)
    allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"traceparent", "tracestate", "If-Match"} <= {*allowed}


# Socket.IO and Engine.IO


@pytest.mark.parametrize("name", ["nothing", "", "chat/x", "chat?token=1"])
async def test_a_refused_namespace_is_answered_with_an_object(server: Served, name: str) -> None:
    async with websocket(server) as wire:
        shown = f"/{name}," if name else ""
        wire.send(frame(f"40{shown}".encode()))
        answer = await wire.text()
        if name == "chat?token=1":
            assert answer == '44/chat,{"message":"authentication required"}'
        else:
            assert answer == f'44{shown}{{"message":"Invalid namespace"}}'


async def test_a_second_connect_is_answered_with_an_object(server: Served) -> None:
    ann = await server.people.make()
    async with in_chat(server, ann) as wire:
        wire.send(frame(b"40/chat," + orjson.dumps(ann.auth())))
        assert await wire.text() == '44/chat,{"message":"already connected"}'


BEFORE = {
    "an event": frame(b'42/chat,0["typing",{}]'),
    "an event of another namespace": frame(b'42["typing",{}]'),
    "an ack": frame(b"43/chat,1[]"),
    "a disconnect": frame(b"41/chat,"),
    "a connect error": frame(b"44/chat,{}"),
    "a binary event": frame(b'451-/chat,["typing",{"_placeholder":true,"num":0}]'),
}


@pytest.mark.parametrize("what", BEFORE)
async def test_what_comes_before_connect_closes_at_once(serve: ServerFactory, what: str) -> None:
    server = await serve(max_unconnected=10**6)
    async with websocket(server) as wire:
        wire.send(BEFORE[what])
        assert await wire.close_code() == 1008


@pytest.mark.parametrize("kind", ["frame", "text", "polling"])
async def test_a_parser_that_sends_bytes_is_closed_at_once(serve: ServerFactory, kind: str) -> None:
    """The official msgpack parser's CONNECT."""
    server = await serve(max_unconnected=10**6)
    if kind != "polling":
        async with websocket(server) as wire:
            wire.send(frame(b"\x84\xa4type", opcode=2) if kind == "frame" else frame(b"bAQID"))
            assert await wire.close_code() == 1003
        return
    anonymous = server.people.anonymous
    opening = (await anonymous.get(POLLING)).body
    path = f"{POLLING}&sid={orjson.loads(opening[1:])['sid']}"
    assert (await anonymous.request("POST", path, data=b"bAQID")).body == b"ok"
    assert (await anonymous.get(path)).body == b"1"


async def test_bytes_after_an_event_are_ignored_however_they_come(server: Served) -> None:
    ann = await server.people.make()
    async with in_chat(server, ann) as wire:
        for number, bytes_of_it in enumerate((frame(b"bAQID"), frame(b"\1\2\3", opcode=2)), 1):
            wire.send(frame(b'451-/chat,%d["message:send",{"file":{"_placeholder":true,"num":0}}]' % number))
            wire.send(bytes_of_it)
            assert (await wire.text()).startswith(f"43/chat,{number}[")
        wire.send(frame(b'42/chat,9["app:state",{"active":true}]'))
        assert (await wire.text()).startswith('43/chat,9[{"isSuccess":true')


async def test_events_of_another_namespace_close(server: Served) -> None:
    ann = await server.people.make()
    async with in_chat(server, ann) as wire:
        wire.send(frame(b'42/other,0["typing",{}]'))
        assert await wire.close_code() == 1008


async def test_engine_io_to_the_letter(server: Served) -> None:
    anonymous = server.people.anonymous
    for query in ("EIO=4", "EIO=4&transport="):
        assert (await anonymous.get(f"/socket.io/?{query}")).status == 400
    opening = (await anonymous.get(POLLING)).body
    path = f"{POLLING}&sid={orjson.loads(opening[1:])['sid']}"
    answer = await anonymous.request("POST", path, data=b"3")
    assert (answer.status, answer.body) == (200, b"ok")


# Websockets


@pytest.mark.parametrize("data", [frame(b"3", mask=False), frame(b"x", opcode=9, mask=False)])
async def test_frames_need_a_mask(server: Served, data: bytes) -> None:
    ann = await server.people.make()
    async with in_chat(server, ann) as wire:
        wire.send(frame(b'42/chat,7["app:state",{"active":true}]') + data)
        assert (await wire.text()).startswith("43/chat,7["), "what came before counts"
        assert await wire.close_code() == 1002
    async with websocket(server) as wire:
        wire.send(data)
        assert await wire.close_code() == 1002


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535])
async def test_codes_that_may_not_be_sent(server: Served, code: int) -> None:
    async with websocket(server) as wire:
        wire.send(frame(code.to_bytes(2, "big"), opcode=8))
        assert await wire.close_code() == 1002


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1014, 3000, 4999])
async def test_codes_that_may(server: Served, code: int) -> None:
    async with websocket(server) as wire:
        wire.send(frame(code.to_bytes(2, "big") + b"bye", opcode=8))
        assert await wire.close_code() == 1000


BAD_FRAMES = {
    "a message within one that began empty": frame(b"", final=False) + frame(b"3"),
    "a message within one": frame(b"3", final=False) + frame(b"3"),
    "a length of two bytes for a short one": frame(b"3", length=b"\x7e\x00\x01"),
    "a length of eight bytes for a short one": frame(b"3", length=b"\x7f" + bytes(7) + b"\x01"),
    "a length of eight bytes for one of two": frame(b"3" * 126, length=b"\x7f" + bytes(7) + b"\x7e"),
}


@pytest.mark.parametrize("what", BAD_FRAMES)
async def test_frames_that_are_not_allowed(server: Served, what: str) -> None:
    async with websocket(server) as wire:
        wire.send(BAD_FRAMES[what])
        assert await wire.close_code() == 1002


def test_frames_are_followed_however_they_are_cut() -> None:
    good = b"".join(
        [
            frame(b"3"),
            frame(b"4", final=False),
            frame(b"ping", opcode=9),
            frame(b"x" * 130, opcode=0, final=False),
            frame(b"y" * 70, opcode=0),
            frame(b"", opcode=2),
            frame(b"z" * 125),
            frame((1000).to_bytes(2, "big"), opcode=8),
        ]
    )
    for bad in (frame(b"3", mask=False), *BAD_FRAMES.values(), frame((1006).to_bytes(2, "big"), opcode=8)):
        data = good + bad
        for size in (1, 2, 3, 7, 64, len(data)):
            check, handed_on = FrameCheck(), 0
            for start in range(0, len(data), size):
                piece = data[start : start + size]
                accepted = check.accepted(piece)
                handed_on += accepted
                if accepted < len(piece):
                    break
            else:
                raise AssertionError("not noticed")
            assert handed_on >= len(good) - 16


HANDSHAKES: dict[str, dict[str, str]] = {
    "an old version": {"Sec-WebSocket-Version": "8"},
    "no version": {"Sec-WebSocket-Version": ""},
}


@pytest.mark.parametrize("what", HANDSHAKES)
async def test_a_wrong_version_is_answered_with_the_right_one(server: Served, what: str) -> None:
    async with connected(server) as wire:
        wire.request("GET", WEBSOCKET, {"Host": wire.host, **UPGRADE, **HANDSHAKES[what]})
        status, headers = await wire.head()
        assert (status, headers["sec-websocket-version"]) == (400, "13")


async def test_the_handshake_needs_http_1_1_and_reads_headers_as_lists(server: Served) -> None:
    async with connected(server) as wire:
        wire.request("GET", WEBSOCKET, {"Host": wire.host, **UPGRADE}, version="1.0")
        assert (await wire.head())[0] == 400
    async with connected(server) as wire:
        wire.request("GET", WEBSOCKET, {"Host": wire.host, "Connection ": "keep-alive", **UPGRADE})
        assert (await wire.head())[0] == 101


# HTTP

CHUNKED = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}


@pytest.mark.parametrize("path", ["/api/v2/messages", "/api/v1/auth/login", "/api/v1/notifications", "form", "polling"])
@pytest.mark.parametrize("chunk", [b"xyz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}xx\r\n"])
async def test_a_broken_chunk_is_a_400_at_once(serve: ServerFactory, path: str, chunk: bytes) -> None:
    server = await serve(max_body_seconds=10**6, max_upload_seconds=10**6)
    ann = await server.people.make()
    headers = {**CHUNKED, "Authorization": f"Bearer {ann.token}"}
    if path == "form":
        path = "/api/v2/media"
        headers["Content-Type"] = "multipart/form-data; boundary=b"
    elif path == "polling":
        path = f"{POLLING}&sid={orjson.loads((await ann.get(POLLING)).body[1:])['sid']}"
    async with connected(server) as wire:
        wire.request("POST", path, {"Host": wire.host, **headers})
        await asyncio.sleep(0.05)
        wire.send(chunk)
        status, answer, _ = await wire.answer()
        assert (status, answer["connection"]) == (400, "close")
        assert await wire.ended() == b""


async def test_a_broken_chunk_in_one_write_and_behind_another_request(server: Served) -> None:
    async with connected(server) as wire:
        wire.request("POST", "/api/v1/auth/login", {"Host": wire.host, **CHUNKED}, body=b"xyz\r\n")
        assert (await wire.answer())[0] == 400
        await wire.ended()
    async with connected(server) as wire:
        wire.request("GET", "/healthz", {"Host": wire.host})
        wire.request("POST", "/api/v1/auth/login", {"Host": wire.host, **CHUNKED})
        assert (await wire.answer())[0] == 200
        wire.send(b"xyz\r\n")
        assert (await wire.answer())[0] == 400
        await wire.ended()


@pytest.mark.parametrize("host", ["a b@c/d", "a/b", "[::1", "a:b", "a@b"])
async def test_a_host_that_is_none(server: Served, host: str) -> None:
    async with connected(server) as wire:
        wire.request("GET", "/healthz", {"Host": host})
        assert (await wire.head())[0] == 400


async def test_conditions(server: Served) -> None:
    ann = await server.people.make()
    page = await ann.get("/static/css/base.css")
    etag = page.headers["ETag"]
    for value in (etag, etag.removeprefix("W/"), f'"other", {etag}', "*"):
        assert (await ann.get("/static/css/base.css", headers={"If-None-Match": value})).status == 304, value
    assert (await ann.get("/static/css/base.css", headers={"If-None-Match": '"other"'})).status == 200
    form = aiohttp.FormData()
    form.add_field("file", b"0123456789 and so on", filename="a.txt")
    made = (await ann.request("POST", "/api/v2/media", data=form)).json
    path = f"/api/v2/media/{made['id']}"
    file = await ann.get(path)
    assert file.headers["Content-Type"] == "text/plain"
    for value, status in {
        file.headers["ETag"]: 200,
        "*": 200,
        '"other"': 412,
        f"W/{file.headers['ETag']}": 412,
    }.items():
        assert (await ann.get(path, headers={"If-Match": value})).status == status, value


async def test_answers_say_what_they_should(server: Served) -> None:
    ann = await server.people.make()
    wrong = await server.people.anonymous.get("/api/v2/chats", headers={"Authorization": "Bearer wrong"})
    assert wrong.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    without = await server.people.anonymous.get("/api/v2/chats")
    assert without.headers["WWW-Authenticate"] == "Bearer"
    scope = await ann.get("/api/v1/admin/audit")
    assert scope.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="admin"'
    chats = await ann.get("/api/v2/chats")
    assert (chats.headers["Cache-Control"], chats.headers["Vary"]) == ("no-store", "Origin")
    assert chats.headers["Server"] == "Bellwire"
    packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = await ann.request("POST", "/api/v2/messages", data=b"{}", headers=packed)
    assert (answer.status, answer.headers["Accept-Encoding"]) == (415, "identity")
