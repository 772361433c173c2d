"""Media over REST: the published document filled, hostile files, who may see what, links, quotas, and what is removed."""

import asyncio
import contextlib
import hashlib
import time
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from sqlalchemy import func, select

from storage.files import Files
from storage.models import media as table
from storage.models import media_usage
from storage.types import now
from tests.conftest import Served, ServerFactory, eventually
from tests.support.files import bomb, encoded, turned, video, voice
from tests.support.people import Answer, Api, Person
from tests.support.process import ServerProcess

MEDIA, MESSAGES = "/api/v2/media", "/api/v2/messages"
SEED = orjson.loads(Path("tests/seeds/message.json").read_bytes())["answer"]["media"]


def form(data: Any, name: str = "photo.jpg", **fields: str) -> aiohttp.FormData:
    made = aiohttp.FormData(quote_fields=False)
    for field, value in fields.items():
        made.add_field(field, value)
    made.add_field("file", data, filename=name, content_type="image/jpeg")
    return made


async def upload(person: Api, data: bytes, name: str = "photo.jpg") -> Any:
    answer = await person.post(MEDIA, data=form(data, name))
    assert answer.status == 201, answer
    return answer.json


async def test_a_form_takes_what_json_takes(server: Served) -> None:
    ann, bob = await server.people.many(2)
    chat = await ann.group(bob)
    root = await ann.send(chat)
    fields = {"threadId": root["_id"], "alsoInChat": "true", "mentions": f'["{bob.id}"]', "mentionAll": "false"}
    answer = await post(ann, chat, PHOTO, **fields)
    assert answer.status == 201, answer
    assert answer.json["mentions"] == [bob.id] and answer.json["alsoInChat"] is True
    assert (await post(ann, chat, PHOTO, mentions="bob")).status == 400


async def post(person: Person, chat: str, data: bytes, name: str = "photo.jpg", **fields: str) -> Answer:
    return await person.post(MESSAGES, data=form(data, name, type="media", chatId=chat, **fields))


def path_of(server: Served, url: str) -> str:
    assert url.startswith(f"{server.url}/api/v2/media/"), "absolute, under the public URL"
    return url.removeprefix(server.url)


def files_of(server: Served) -> list[Path]:
    return [each for each in (server.services.settings.data_dir / "media").rglob("*") if each.is_file()]


PHOTO, MOVIE, NOTE = turned(), video(seconds=2), voice(seconds=3)


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (PHOTO, "photo.jpg", {"type": "image", "width": 480, "height": 640, "duration": None, "thumbnail": True}),
        (MOVIE, "film.mp4", {"type": "video", "width": 320, "height": 240, "duration": 2.0, "thumbnail": True}),
        (NOTE, "note.ogg", {"type": "audio", "width": None, "height": None, "duration": 3.0, "thumbnail": False}),
        (b"%PDF-1.7\nwords", "a.pdf",
         {"type": "file", "width": None, "height": None, "duration": None, "thumbnail": False}),
    ],
    ids=["image", "video", "voice", "file"],
)  # fmt: skip
async def test_the_published_document(either: Served, data: bytes, name: str, expected: dict[str, Any]) -> None:
    """Over REST in one call and in two, over a socket, in an event, in the history: always the same."""
    ann, bob = await either.people.many(2)
    chat = await ann.group(bob)
    listener = await bob.socket()
    in_one = await post(ann, chat, data, name, content="look")
    assert in_one.status == 201, in_one
    document = in_one.json
    shown = document["media"]
    assert {*shown} == {*SEED, "id"}
    thumbnail, duration = expected["thumbnail"], expected["duration"]
    assert shown["duration"] == (duration and pytest.approx(duration, abs=0.1))
    assert (shown["type"], shown["width"], shown["height"]) == (expected["type"], expected["width"], expected["height"])
    assert (shown["name"], shown["size"]) == (name, len(data))
    assert shown["url"] == f"{either.url}/api/v2/media/{shown['id']}"
    assert shown["thumbnail_url"] == (f"{shown['url']}/thumbnail" if thumbnail else None)
    assert document["type"] == "media" and document["content"] == "look" and document["creditTransfer"] is None
    assert await listener.event("message:new") == [document, {"channel": f"chat:{chat}", "seq": document["seq"]}]
    in_two = await upload(ann, data, name)
    assert in_two["id"] == in_two["media"]["id"]
    second = await ann.post(MESSAGES, {"type": "media", "chatId": chat, "file": in_two["id"]})
    assert second.status == 201 and second.json["media"] == in_two["media"] and second.json["content"] is None
    assert (await listener.event("message:new", 2))[0]["media"] == in_two["media"]
    talker = await ann.socket()
    third = await upload(ann, data, name)
    answer = await talker.call("message:send", {"type": "media", "chatId": chat, "file": third["id"]})
    assert answer["statusCode"] == 201 and answer["data"]["media"] == third["media"]
    history = await bob.get(f"{MESSAGES}?chatId={chat}")
    assert [each["media"] for each in history.json["items"]] == [shown, in_two["media"], third["media"]]
    whole = await bob.get(path_of(either, shown["url"]))
    assert whole.status == 200 and whole.body == data
    if thumbnail:
        small = await bob.get(path_of(either, shown["thumbnail_url"]))
        assert small.status == 200 and small.headers["Content-Type"] == "image/webp" and small.body[8:12] == b"WEBP"
    else:
        assert (await bob.get(f"{MEDIA}/{shown['id']}/thumbnail")).status == 404


async def test_how_a_file_is_served(server: Served) -> None:
    ann = await server.people.make()
    made = await upload(ann, PHOTO, "Fotoğraf 1%.jpg")
    path = f"{MEDIA}/{made['id']}"
    whole = await ann.get(path)
    etag = whole.headers["ETag"]
    assert whole.headers["Content-Type"] == "image/jpeg" and whole.headers["X-Content-Type-Options"] == "nosniff"
    assert whole.headers["Content-Disposition"] == "inline; filename*=UTF-8''Foto%C4%9Fraf%201%25.jpg"
    assert "sandbox" in whole.headers["Content-Security-Policy"] and whole.headers["Content-Length"] == str(len(PHOTO))
    assert etag == f'"{hashlib.sha256(PHOTO).hexdigest()}"' and whole.headers["Accept-Ranges"] == "bytes"
    for asked, start, end in (("0-9", 0, 10), ("10-", 10, len(PHOTO)), ("-5", len(PHOTO) - 5, len(PHOTO)),
                              ("5-999999999", 5, len(PHOTO)), ("-999999999", 0, len(PHOTO))):  # fmt: skip
        part = await ann.get(path, headers={"Range": f"bytes={asked}"})
        assert part.body == PHOTO[start:end], asked
        assert part.status == 206 and part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(PHOTO)}"
    for asked in (f"bytes={len(PHOTO)}-", "bytes=-0"):
        beyond = await ann.get(path, headers={"Range": asked})
        assert beyond.status == 416 and beyond.headers["Content-Range"] == f"bytes */{len(PHOTO)}", asked
    for asked in ("bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=x", "bytes=-"):
        assert (await ann.get(path, headers={"Range": asked})).status == 200, asked
    assert (await ann.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'})).status == 200
    assert (await ann.get(path, headers={"Range": "bytes=0-1", "If-Range": etag})).status == 206
    unchanged = await ann.get(path, headers={"If-None-Match": etag})
    assert unchanged.status == 304 and unchanged.body == b""
    head = await ann.request("HEAD", path, headers={"Range": "bytes=0-1"})
    assert head.status == 200 and head.body == b"" and head.headers["Content-Length"] == str(len(PHOTO))
    pdf = await upload(ann, b"%PDF-1.7\n", "a.pdf")
    served = await ann.get(f"{MEDIA}/{pdf['id']}")
    assert served.headers["Content-Disposition"].startswith("attachment")


async def test_who_may_see_it(server: Served) -> None:
    ann, bob, cat = await server.people.many(3)
    chat = await ann.group(bob)
    id = (await upload(ann, PHOTO))["id"]
    path = f"{MEDIA}/{id}"
    for verb in ("", "/thumbnail"):
        assert (await ann.get(path + verb)).status == 200
        assert (await bob.get(path + verb)).status == 404, "not sent yet"
        assert (await server.people.anonymous.get(path + verb)).status == 401
    assert (await bob.post(MESSAGES, {"type": "media", "chatId": chat, "file": id})).status == 404, "it is ann's"
    assert (await ann.post(MESSAGES, {"type": "media", "chatId": chat, "file": id})).status == 201
    assert (await ann.post(MESSAGES, {"type": "media", "chatId": chat, "file": id})).status == 404, "it is used"
    for verb in ("", "/thumbnail"):
        assert (await bob.get(path + verb)).status == 200
        assert (await cat.get(path + verb)).status == 404
        assert (await ann.get(f"{MEDIA}/{'0' * 24}{verb}")).status == 404
    assert (await cat.post(f"{path}/link")).status == 404
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    assert (await cat.get(path)).status == 404, "sent before they came"
    await ann.delete(f"/api/v2/chats/{chat}/members/{bob.id}")
    assert (await bob.get(path)).status == 404
    foreign = await server.people.make(tenant=await server.people.tenant())
    assert (await foreign.get(path)).status == 404


async def test_links_need_no_token_and_expire(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = await server.people.make()
    id = (await upload(ann, PHOTO))["id"]
    made = await ann.post(f"{MEDIA}/{id}/link")
    assert made.status == 201 and {*made.json} == {"url", "expiresAt"}
    anonymous = server.people.anonymous
    url = path_of(server, made.json["url"])
    assert (await anonymous.get(url)).body == PHOTO
    assert (await anonymous.get(url.replace(id, f"{id}/thumbnail"))).status == 200
    other = (await upload(ann, NOTE))["id"]
    expires = url.split("expires=")[1].split("&")[0]
    for wrong in (url.replace(id, other), url[:-1] + ("0" if url[-1] != "0" else "1"),
                  url.replace(expires, str(int(expires) + 1)), url.split("signature=")[0] + "signature=%C3%A9"):  # fmt: skip
        assert (await anonymous.get(wrong)).status == 403, wrong
    assert (await anonymous.get(url.replace(f"expires={expires}&", ""))).status == 400
    assert (await anonymous.get(url.replace(expires, "-1"))).status == 400
    later = time.time() + 601
    monkeypatch.setattr("realtime.media.time.time", lambda: later)
    assert (await anonymous.get(url)).status == 403


async def test_one_key_one_message_whatever_way_the_file_comes(either: Served) -> None:
    ann, bob = await either.people.many(2)
    chat = await ann.group(bob)
    listener = await bob.socket()
    first = await post(ann, chat, PHOTO, clientMessageId="one")
    again = await post(ann, chat, PHOTO, clientMessageId="one")
    assert first.status == again.status == 201 and first.body == again.body
    id = (await upload(ann, PHOTO))["id"]
    by_id = await ann.post(MESSAGES, {"type": "media", "chatId": chat, "file": id, "clientMessageId": "one"})
    assert by_id.body == first.body, "a file is known by its hash"
    assert (await post(ann, chat, MOVIE, clientMessageId="one")).status == 409
    assert (await ann.send(chat, "the next"))["seq"] == first.json["seq"] + 1
    assert (await listener.event("message:new", 2))[0]["content"] == "the next"
    assert listener.named("message:new")[0][0]["_id"] == first.json["_id"]
    at_once = await asyncio.gather(*(post(ann, chat, PHOTO, clientMessageId="two") for _ in range(8)))
    assert {each.status for each in at_once} == {201} and len({each.body for each in at_once}) == 1
    await either.services.media.sweep()
    assert len(files_of(either)) == 2 * 3, "what came twice is kept once"
    await check_usage(either)
    await ann.delete(f"{MESSAGES}/{first.json['_id']}")
    after = await post(ann, chat, PHOTO, clientMessageId="one")
    assert after.status == 201 and after.json["deletedAt"] and after.json["media"] is None
    same_id = {"type": "media", "chatId": chat, "file": first.json["media"]["id"], "clientMessageId": "one"}
    await either.services.media.sweep()
    assert (await ann.post(MESSAGES, same_id)).json["deletedAt"]


async def test_a_file_is_sent_once_however_many_try(either: Served) -> None:
    ann, bob = await either.people.many(2)
    chats = [await ann.group(bob) for _ in range(8)]
    id = (await upload(ann, PHOTO))["id"]
    tries = await asyncio.gather(*(ann.post(MESSAGES, {"type": "media", "chatId": chat, "file": id}) for chat in chats))
    assert sorted(each.status for each in tries) == [201, *[404] * 7]


async def test_refused_before_it_is_stored(server: Served) -> None:
    ann, bob = await server.people.many(2)
    chat = await bob.group()
    mine = await ann.group()
    assert (await server.people.anonymous.post(MEDIA, data=form(PHOTO))).status == 401
    assert (await post(ann, chat, PHOTO)).status == 404
    assert (await post(ann, mine, PHOTO, replyTo="0" * 24)).status == 404
    fields = {"type": "text", "chatId": mine, "content": "x"}
    assert (await ann.post(MESSAGES, data=form(PHOTO, **fields))).status == 400, "a file belongs to a media message"
    assert (await ann.post(MESSAGES, {"type": "media", "chatId": mine})).status == 400
    assert (await ann.post(MESSAGES, {"type": "media", "chatId": mine, "file": "photo.jpg"})).status == 400
    assert (await ann.post(MESSAGES, {**fields, "file": "photo.jpg"})).status == 201, "looked at in media alone"
    assert (await ann.post(MEDIA, {"file": "0" * 24})).status == 415
    assert (await ann.post(MEDIA, data=b"x", headers={"Content-Type": "image/jpeg"})).status == 415
    two = form(PHOTO)
    two.add_field("file", PHOTO, filename="b.jpg")
    assert (await ann.post(MEDIA, data=two)).status == 400
    other = aiohttp.FormData()
    other.add_field("picture", PHOTO, filename="b.jpg")
    assert (await ann.post(MEDIA, data=other)).status == 400
    many = form(PHOTO, **{f"f{n}": "x" for n in range(40)})
    assert (await ann.post(MEDIA, data=many)).status == 400
    await server.services.media.sweep()
    assert files_of(server) == [] and list(server.services.media.temporary.iterdir()) == []


async def test_what_its_sender_may_not_send_is_not_kept(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob, eve = await server.people.many(3)
    chat = await ann.group(bob)
    assert (await ann.patch(f"/api/v2/chats/{chat}/members/{bob.id}", {"role": "readonly"})).status == 200
    direct = (await bob.post(MESSAGES, {"type": "text", "targetUserId": ann.id, "content": "hello"})).json["chatId"]
    await ann.send(chat, "taken", clientMessageId="taken")
    assert (await ann.post("/api/v1/users/me/blocks", {"userId": bob.id})).status == 201

    async def keep(*_: Any) -> None:
        pytest.fail("kept before it was refused")

    monkeypatch.setattr(server.services.media, "keep", keep)
    assert (await post(eve, chat, PHOTO)).status == 404
    assert (await post(bob, chat, PHOTO)).status == 403
    assert (await post(bob, direct, PHOTO)).status == 403
    assert (await post(ann, chat, PHOTO, clientMessageId="taken")).status == 409
    assert (await bob.post(MESSAGES, data=form(PHOTO, type="media", targetUserId="0" * 24))).status == 404
    assert files_of(server) == []


HOSTILE: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", 415),
    "html": (b"<!doctype html><script>alert(1)</script>", 415),
    "xml": (b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>", 415),
    "html with a bom": (b"\xef\xbb\xbf\n<html>", 415),
    "svg in utf-16": (b"\xff\xfe" + "<svg onload='alert(1)'/>".encode("utf-16-le"), 415),
    "svg after much space": (b" " * 60_000 + b"<svg/>", 415),
    "cut picture": (PHOTO[: len(PHOTO) // 2], 400),
    "cut video": (MOVIE[: len(MOVIE) // 2], 400),
    "pixel bomb": (bomb(60_000, 60_000), 400),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_files(server: Served, name: str) -> None:
    data, status = HOSTILE[name]
    ann = await server.people.make()
    answer = await ann.post(MEDIA, data=form(data, "photo.jpg"))
    assert answer.status == status and answer.json["isSuccess"] is False and answer.json["errors"], answer
    assert files_of(server) == [] and list(server.services.media.temporary.iterdir()) == []
    assert (await ann.get("/api/v1/users/me")).status == 200


async def test_two_in_one_and_bombs_that_stay_packed(server: Served) -> None:
    """A picture with a page behind it is a picture; an archive is never opened."""
    import io
    import zipfile

    ann = await server.people.make()
    page = await upload(ann, encoded("GIF") + b"<html><script>alert(1)</script></html>", "page.html")
    served = await ann.get(f"{MEDIA}/{page['id']}")
    assert served.headers["Content-Type"] == "image/gif" and served.headers["X-Content-Type-Options"] == "nosniff"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(64 << 20))
    packed = await upload(ann, buffer.getvalue(), "bomb.jpg")
    assert packed["media"]["type"] == "file" and packed["media"]["thumbnail_url"] is None
    both = await upload(ann, encoded("PNG") + buffer.getvalue(), "both.zip")
    assert both["media"]["type"] == "image"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"), ("..\\..\\boot.ini", "boot.ini"), ("..", "file"), ("", "file"), ("/", "file"),
        ("a\u202db.jpg", "ab.jpg"), ("C:/x/y.png", "y.png"), ("\u202egnp.exe", "gnp.exe"),
        ("ş" * 300 + ".jpeg", "ş" * 250 + ".jpeg"), ("x" * 300, "x" * 255),
    ],
)  # fmt: skip
async def test_names_are_only_names(server: Served, given: str, kept: str) -> None:
    ann = await server.people.make()
    boundary = "b" * 20
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{given}"\r\n\r\n'.encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    answer = await ann.post(MEDIA, data=head + PHOTO + f"\r\n--{boundary}--\r\n".encode(), headers=headers)
    assert answer.status == 201, answer
    assert answer.json["media"]["name"] == kept
    assert all(each.parent.parent.parent == server.services.settings.data_dir for each in files_of(server))
    assert (await ann.get(f"{MEDIA}/{answer.json['id']}")).body == PHOTO


async def test_the_limit_to_the_byte(serve: ServerFactory) -> None:
    server = await serve(max_upload=100_000)
    ann = await server.people.make()
    fits = b"%PDF" + bytes(100_000 - 4)
    assert (await upload(ann, fits))["media"]["size"] == 100_000
    answer = await ann.post(MEDIA, data=form(fits + b"\0"))
    assert answer.status == 413 and answer.json["isSuccess"] is False
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 1 << 30:
            sent += 65_536
            yield bytes(65_536)

    try:
        answer = await ann.post(MEDIA, data=form(endless()))
        assert answer.status == 413
    except aiohttp.ClientError:
        pass
    assert sent < 64 << 20, "the rest was not read"
    sent = 0

    async def lines() -> Any:
        async for each in endless():
            yield each[2:] + b"\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    with contextlib.suppress(aiohttp.ClientError):
        assert (await ann.post(MEDIA, data=lines(), headers=headers)).status == 413
    assert sent < 1 << 30, "what stands before the first part counts"
    assert list(server.services.media.temporary.iterdir()) == []


async def test_a_slow_upload_ends(serve: ServerFactory) -> None:
    server = await serve(max_upload_seconds=0.5)
    ann = await server.people.make()

    async def slow() -> Any:
        while True:
            yield b"x" * 100
            await asyncio.sleep(0.05)

    head = b'--b\r\nContent-Disposition: form-data; name="type"\r\n\r\n'

    async def silent(beginning: bytes) -> Any:
        yield beginning
        await asyncio.Event().wait()

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    for beginning in (head + b"me", b"preamble", b"--b\r\n"):
        with contextlib.suppress(aiohttp.ClientError):
            assert (await ann.post(MESSAGES, data=silent(beginning), headers=headers)).status == 400
    with contextlib.suppress(aiohttp.ClientError):
        assert (await ann.post(MEDIA, data=form(slow()))).status == 400
    assert list(server.services.media.temporary.iterdir()) == []


async def test_an_upload_that_is_cut_off_leaves_nothing(server: Served) -> None:
    ann = await server.people.make()
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {MEDIA} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ann.token}\r\nContent-Length: 1000000\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode()
        + head
        + bytes(100_000)
    )
    await writer.drain()
    await eventually(lambda: list(server.services.media.temporary.iterdir()))
    writer.close()
    await eventually(lambda: not list(server.services.media.temporary.iterdir()))
    assert reader


async def test_fifty_at_once_take_no_memory(tmp_path: Path) -> None:
    """The peak of a server of its own, while 500 MiB come."""
    path = tmp_path / "big"
    path.write_bytes(b"%PDF" + bytes(10 << 20))
    server = ServerProcess(tmp_path / "data", max_uploads_at_once=50)
    async with server, aiohttp.ClientSession() as session:
        ann = await server.user(session, "ann@example.org")

        def peak() -> int:
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0])

        async def one() -> int:
            with path.open("rb") as file:
                return (await ann.post(MEDIA, data=form(file, "big.pdf"))).status

        assert await one() == 201
        before = peak()
        assert set(await asyncio.gather(*(one() for _ in range(50)))) == {201}
        assert peak() - before < 100_000, "KiB for 500 MiB"


async def test_quotas(database_url: str, serve: ServerFactory) -> None:
    server = await serve(database_url=database_url, max_media_per_user=250_000, max_media_per_tenant=450_000)
    ann, bob, cat = await server.people.many(3)
    chat = await ann.group(bob)
    data = b"%PDF" + bytes(99_996)

    async def status(person: Person) -> int:
        return (await person.post(MEDIA, data=form(data))).status

    assert [await status(ann) for _ in range(3)] == [201, 201, 409]
    assert [await status(bob) for _ in range(2)] == [201, 201]
    assert await status(cat) == 409, "the tenant's are full"
    full = await post(cat, await cat.group(), data)
    assert full.status == 409
    sent = (await post(ann, chat, b"%PDF" + bytes(10_000), clientMessageId="k")).json
    assert (await post(ann, chat, b"%PDF" + bytes(10_000), clientMessageId="k")).json == sent
    await bob.delete(f"{MESSAGES}/{sent['_id']}")
    await ann.delete(f"{MESSAGES}/{sent['_id']}")
    await server.services.media.sweep()
    assert await status(cat) == 409
    foreign = await server.people.make(tenant=await server.people.tenant())
    assert await status(foreign) == 201
    await check_usage(server)


async def test_the_last_room_is_taken_once(database_url: str, serve: ServerFactory) -> None:
    server = await serve(database_url=database_url, max_media_per_tenant=250_000)
    people = await server.people.many(8)
    data = b"%PDF" + bytes(99_996)
    at_once = await asyncio.gather(*(each.post(MEDIA, data=form(data)) for each in people))
    assert sorted(each.status for each in at_once) == [201] * 2 + [409] * 6
    await check_usage(server)


async def test_one_key_near_the_quota(serve: ServerFactory) -> None:
    server = await serve(max_media_per_user=150_000)
    ann = await server.people.make()
    chat = await ann.group()
    data = b"%PDF" + bytes(99_996)
    answers = await asyncio.gather(*(post(ann, chat, data, clientMessageId="k") for _ in range(4)))
    assert {each.status for each in answers} == {201} and len({each.body for each in answers}) == 1
    stranger = await server.people.make()
    assert (await post(stranger, chat, data)).status == 404, "a chat that one can't see comes before the room"


async def test_a_second_upload_of_what_was_sent_may_be_gone(server: Served) -> None:
    ann = await server.people.make()
    chat = await ann.group()
    body = {"type": "media", "chatId": chat, "clientMessageId": "k"}
    first, second = await upload(ann, PHOTO), await upload(ann, PHOTO)
    sent = await ann.post(MESSAGES, {**body, "file": first["id"]})
    assert (await ann.post(MESSAGES, {**body, "file": second["id"]})).body == sent.body
    await server.services.media.drop(second["id"])
    await server.services.media.sweep()
    assert (await ann.post(MESSAGES, {**body, "file": second["id"]})).body == sent.body
    assert (await ann.post(MESSAGES, {**body, "file": second["id"], "chatId": await ann.group()})).status == 409


async def check_usage(server: Served) -> None:
    """What is counted is what there is."""

    def look(connection: Any) -> tuple[Any, Any]:
        kept = table.c.state != "gone"
        whose = (table.c.tenant_pk, table.c.owner_pk)
        summed = connection.execute(select(*whose, func.sum(table.c.size)).where(kept).group_by(*whose)).all()
        return summed, connection.execute(select(media_usage)).all()

    summed, kept = await server.services.database.read(look)
    tenants: dict[int, int] = {}
    for tenant, _, size in summed:
        tenants[tenant] = tenants.get(tenant, 0) + int(size)
    counted = {(tenant, user): size for tenant, user, size in kept if size}
    assert counted == {(t, u): int(s) for t, u, s in summed} | {(t, 0): s for t, s in tenants.items()}


async def test_what_is_deleted_goes_and_what_is_left_goes_too(database_url: str, serve: ServerFactory) -> None:
    server = await serve(database_url=database_url)
    ann, bob = await server.people.many(2)
    chat, other = await ann.group(bob), await ann.group(bob)
    sent = (await post(ann, chat, PHOTO)).json
    kept = (await post(ann, chat, MOVIE)).json
    in_other = (await post(ann, other, NOTE)).json
    unsent = await upload(ann, PHOTO)
    assert len(files_of(server)) == 2 + 2 + 1 + 2
    listener = await bob.socket()
    await ann.delete(f"{MESSAGES}/{sent['_id']}")
    assert (await listener.event("message:deleted"))[0]["media"] is None
    assert (await bob.get(f"{MEDIA}/{sent['media']['id']}")).status == 404, "at once, before its file is gone"
    link = path_of(server, (await bob.post(f"{MEDIA}/{in_other['media']['id']}/link")).json["url"])
    assert (await server.people.anonymous.get(link)).status == 200
    await ann.delete(f"/api/v2/chats/{other}")
    assert (await server.people.anonymous.get(link)).status == 404, "at once, for whoever had a link too"
    assert (await bob.get(f"{MEDIA}/{in_other['media']['id']}")).status == 404
    await server.services.chats.sweep_all()
    await server.services.media.sweep()
    assert len(files_of(server)) == 2 + 2
    server.services.media.unsent = 0
    late = await upload(ann, NOTE)
    expired = now()
    await eventually(lambda: now() > expired)
    await server.services.media.sweep()
    assert (await ann.get(f"{MEDIA}/{late['id']}")).status == 404
    assert (await ann.post(MESSAGES, {"type": "media", "chatId": chat, "file": late["id"]})).status == 404
    assert (await bob.get(f"{MEDIA}/{kept['media']['id']}")).body == MOVIE
    assert (await ann.get(f"{MEDIA}/{unsent['id']}")).status == 200
    await check_usage(server)


async def test_uploads_that_a_crash_left_go(server: Served) -> None:
    import os

    folder = server.services.media.temporary
    for name, age in (("old", 25 * 3600), ("new", 3600)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (time.time() - age, time.time() - age))
    await server.services.media.sweep()
    assert [each.name for each in folder.iterdir()] == ["new"]


async def test_captions_are_edited_and_the_file_stays(server: Served) -> None:
    ann, bob = await server.people.many(2)
    chat = await ann.group(bob)
    sent = (await post(ann, chat, PHOTO, content="before")).json
    edited = (await ann.patch(f"{MESSAGES}/{sent['_id']}", {"content": "after"})).json
    assert edited["media"] == sent["media"] and edited["content"] == "after"


async def test_types_by_setting(serve: ServerFactory) -> None:
    server = await serve(media_types="image/png, audio/*")
    ann = await server.people.make()
    assert (await upload(ann, encoded("PNG")))["media"]["type"] == "image"
    assert (await upload(ann, NOTE))["media"]["type"] == "audio"
    assert (await ann.post(MEDIA, data=form(PHOTO))).status == 415
    assert len(files_of(server)) == 3


async def test_odd_forms(server: Served) -> None:
    ann = await server.people.make()
    chat = await ann.group()

    async def raw(body: bytes, path: str = MESSAGES) -> Answer:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        return await ann.post(path, data=body.replace(b"\n", b"\r\n"), headers=headers)

    def field(name: str, value: str, more: str = "") -> bytes:
        return f'--b\nContent-Disposition: form-data; name="{name}"{more}\n\n{value}\n'.encode()

    text = field("type", "text") + field("chatId", chat) + field("content", "hi")
    empty = field("file", "", '; filename=""') + field("metadata", "") + b"--b--\n"
    assert (await raw(text + empty)).status == 201, "an empty file field of a page"
    for body in (b"", b"--b--", b"--b\n\n", text, b"--x--\n", text + b"--b\n\nno name\n--b--\n",
                 b'--b\nContent-Disposition: form-data; name="\xff"; filename="a"\n\nx\n--b--\n',
                 b'--b\nContent-Disposition: form-data; name="content"\n\n\xff\n--b--\n',
                 b'--b\nContent-Disposition: form-data; name="file"; filename="a"\n'
                 b"Content-Transfer-Encoding: base64\n\nAAAA\n--b--\n"):  # fmt: skip
        assert (await raw(body)).status == 400, body


async def test_a_file_that_is_lost_or_can_not_be_read(
    server: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ann = await server.people.make()
    made = await upload(ann, PHOTO)
    for each in files_of(server):
        each.unlink()
    for verb in ("", "/thumbnail"):
        assert (await ann.get(f"{MEDIA}/{made['id']}{verb}")).status == 404
    assert "is missing" in caplog.text
    folder = server.services.settings.data_dir / "media"
    for each in folder.iterdir():
        each.rmdir()
    folder.rmdir()
    folder.write_text("not a folder any more")
    for _ in range(3):
        assert (await ann.post(MEDIA, data=form(PHOTO))).status == 503
    await server.services.media.drop(made["id"])
    await server.services.media.sweep()
    folder.unlink()
    folder.mkdir()
    monkeypatch.setattr("realtime.media.now", lambda: now() + 2 * 3600 * 1_000_000)
    await server.services.media.sweep()
    await check_usage(server)
    assert (await ann.post(MEDIA, data=form(PHOTO))).status == 201
    assert len(files_of(server)) == 2


async def test_a_store_that_does_not_answer(s3: str, serve: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await serve(media_url=s3)
    ann = await server.people.make()
    made = await upload(ann, PHOTO)
    bucket = server.services.media.files
    server.services.media.files = Files("s3://nowhere/files")
    assert (await ann.post(MEDIA, data=form(PHOTO))).status == 503
    server.services.media.files = bucket
    assert (await ann.get(f"{MEDIA}/{made['id']}")).body == PHOTO
    await server.services.media.drop(made["id"])
    await server.services.media.sweep()
    assert (await ann.get(f"{MEDIA}/{made['id']}")).status == 404
    with pytest.raises(FileNotFoundError):
        await bucket.size(
            (await server.services.database.read(lambda it: it.execute(select(table.c.key)).first()) or ["x"])[0]
        )
    await check_usage(server)


async def test_files_on_s3(serve: ServerFactory, s3: str) -> None:
    server = await serve(media_url=s3)
    ann, bob = await server.people.many(2)
    chat = await ann.group(bob)
    sent = (await post(ann, chat, PHOTO)).json["media"]
    assert (await bob.get(path_of(server, sent["url"]))).body == PHOTO
    part = await bob.get(path_of(server, sent["url"]), headers={"Range": "bytes=5-8"})
    assert part.status == 206 and part.body == PHOTO[5:9]
    assert (await bob.get(path_of(server, sent["thumbnail_url"]))).body[8:12] == b"WEBP"
    assert not (server.services.settings.data_dir / "media").exists()


async def test_the_public_url_of_the_settings(serve: ServerFactory) -> None:
    server = await serve(public_url="https://chat.example.org/")
    ann = await server.people.make()
    made = await upload(ann, PHOTO)
    assert made["media"]["url"] == f"https://chat.example.org/api/v2/media/{made['id']}"
    link = (await ann.post(f"{MEDIA}/{made['id']}/link")).json["url"]
    assert link.startswith(f"{made['media']['url']}?")
