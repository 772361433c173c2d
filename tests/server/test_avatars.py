"""Pictures of users: uploaded, shown within the tenant, replaced, removed, erased."""

import base64
import io
import json
from typing import Any

import aiohttp
from PIL import Image

from tests.conftest import Served, ServerFactory
from tests.support.files import encoded
from tests.support.people import Person

MINE = "/api/v1/users/me/avatar"


def form(data: bytes, name: str = "me.png") -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field("file", data, filename=name, content_type="application/octet-stream")
    return made


async def put(person: Person, data: bytes) -> Any:
    return await person.put(MINE, data=form(data))


async def bytes_of(person: Person, url: str) -> tuple[int, bytes, Any]:
    async with person.session.get(url, headers={"Authorization": f"Bearer {person.token}"}) as answer:
        return answer.status, await answer.read(), answer.headers


async def test_a_picture_is_shown_within_the_tenant(either: Served) -> None:
    ann, bob = await either.people.many(2)
    stranger = await either.people.make(tenant=await either.people.tenant())
    answer = await put(ann, encoded("PNG", (600, 400)))
    assert answer.status == 200, answer
    url = answer.json["data"]["avatarUrl"]
    assert url.startswith(f"{either.url}/api/v1/users/{ann.id}/avatar?v=")
    assert (await bob.get(f"/api/v1/users/{ann.id}")).json["data"]["avatarUrl"] == url
    status, data, headers = await bytes_of(bob, url)
    assert status == 200 and headers["Content-Type"] == "image/webp" and "private" in headers["Cache-Control"]
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (256, 256)
    same = await bob.get(f"/api/v1/users/{ann.id}/avatar", headers={"If-None-Match": headers["ETag"]})
    assert same.status == 304 and "no-cache" in same.headers["Cache-Control"]
    assert (await bytes_of(stranger, url))[0] == 404
    assert (await either.people.anonymous.get(f"/api/v1/users/{ann.id}/avatar")).status == 401
    assert (await bytes_of(ann, url.replace(ann.id, bob.id)))[0] == 404


async def test_another_picture_has_another_url_and_removing_is_idempotent(either: Served) -> None:
    ann = await either.people.make()
    image = encoded("PNG", (300, 300))
    first = (await put(ann, image)).json["data"]["avatarUrl"]
    again = (await put(ann, image)).json["data"]["avatarUrl"]
    other = (await put(ann, encoded("JPEG", (300, 500)))).json["data"]["avatarUrl"]
    assert first == again != other
    for _ in range(2):
        removed = await ann.delete(MINE)
        assert removed.status == 200 and removed.json["data"]["avatarUrl"] is None
    assert (await bytes_of(ann, other))[0] == 404


async def test_what_is_no_image_is_refused(server: Served, serve: ServerFactory) -> None:
    ann = await server.people.make()
    for data, status in ((b"some text", 415), (b"<svg></svg>", 415), (encoded("PNG")[:60], 400), (b"", 400)):
        assert (await put(ann, data)).status == status, data
    assert (await ann.put(MINE, {"file": "6b0351d9ee38b0f9c600095c"})).status == 415
    small = await serve(max_avatar=100)
    bob = await small.people.make()
    large = await put(bob, encoded("PNG", (30, 30)))
    assert large.status == 413 and "100 bytes" in large.json["details"][0]["message"]


async def test_an_export_of_the_user_has_it(either: Served) -> None:
    ann = await either.people.make("Ann")
    url = (await put(ann, encoded("PNG", (300, 300)))).json["data"]["avatarUrl"]
    async with ann.session.post(
        f"{either.url}/api/v1/users/me/export", headers={"Authorization": f"Bearer {ann.token}"}
    ) as answer:
        assert answer.status == 200 and answer.content_type == "application/x-ndjson"
        lines = [json.loads(line) for line in (await answer.text()).splitlines()]
    (avatar,) = [line for line in lines if line["kind"] == "avatar"]
    assert base64.b64decode(avatar["data"]) == (await bytes_of(ann, url))[1]
    assert [line["name"] for line in lines if line["kind"] == "user"] == ["Ann"]


async def test_it_is_erased_with_the_account(either: Served) -> None:
    ann, bob = await either.people.many(2)
    url = (await put(ann, encoded("PNG", (300, 300)))).json["data"]["avatarUrl"]
    assert (await ann.delete("/api/v1/users/me")).status == 200
    assert (await bytes_of(bob, url))[0] == 404
