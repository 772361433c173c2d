"""Media over REST: uploads, and files served as what they are, in parts if asked."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from aiohttp import web
from pydantic import Field

from realtime import documents
from realtime.bodies import Body
from realtime.fields import HexId
from server.call import Call, Created, token_of
from storage.errors import Invalid, NotFound, Unsupported
from storage.files import Files
from storage.media import Media

POLICY = "default-src 'none'; sandbox"
SHOWN = ("image", "video", "audio")


class UploadFile(Body):
    """A form with the part ``file``."""

    file: HexId


class Linked(Body):
    """What a link carries."""

    expires: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    signature: str | None = None


async def upload(call: Call) -> Any:
    if call.upload is None:
        raise Unsupported("Send the file in the part file of a multipart/form-data body")
    item = await call.services.media.keep(call.caller, call.upload)
    return Created({"id": item.id, "media": documents.media_of(item, call.services.public_url)})


async def link(call: Call) -> Any:
    url, expires_at = await call.services.media.link(call.caller, call.id())
    return Created({"url": url, "expiresAt": documents.time(expires_at)})


async def show(call: Call) -> web.Response:
    item = await wanted(call)
    return serve(call, item.key, item.size, item.mime, item, item.hash)


async def thumbnail(call: Call) -> web.Response:
    """Raises NotFound where there is none."""
    item = await wanted(call)
    if not item.thumbnail:
        raise NotFound
    size = await call.services.media.files.size(item.thumbnail_key)
    return serve(call, item.thumbnail_key, size, "image/webp", item, f"{item.hash}-thumbnail")


async def wanted(call: Call) -> Media:
    """By a link, or by who asks. Raises Unauthenticated, Forbidden, NotFound."""
    service, query = call.services.media, call.query
    if query.signature is not None:
        if query.expires is None:
            raise Invalid.field("expires", "is required in a link")
        return await service.linked(call.id(), query.expires, query.signature)
    return await service.get(await call.services.accounts.authenticate(await token_of(call.request)), call.id())


def serve(call: Call, key: str, size: int, mime: str, item: Media, version: str) -> web.Response:
    """All of a file, the part that was asked for (206), or what the client has already (304)."""
    request = call.request
    shown = "inline" if item.kind in SHOWN else "attachment"
    headers = {
        "Content-Type": mime,
        "Content-Disposition": f"{shown}; filename*=UTF-8''{quote(item.name, safe='')}",
        "Content-Security-Policy": POLICY,
        "Cache-Control": "private, no-cache",
        "Accept-Ranges": "bytes",
        "ETag": f'"{version}"',
    }
    if any(each.value in (version, "*") for each in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    part = part_of(request, size, version)
    if part is None:
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    start, end = part
    headers["Content-Length"] = str(end - start)
    if (start, end) != (0, size):
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    status = 206 if "Content-Range" in headers else 200
    return web.Response(status=status, headers=headers, body=pieces(call.services.media.files, key, start, end))


def part_of(request: web.Request, size: int, version: str) -> tuple[int, int] | None:
    """From where up to where; None for a part that there is not. What can't be read asks for all (RFC 9110, 14.2)."""
    try:
        asked = request.http_range
    except ValueError:
        return 0, size
    same = request.headers.get("If-Range") in (None, f'"{version}"')
    if not same or (asked.start is None and asked.stop is None):
        return 0, size
    start, end, _ = asked.indices(size)
    return (start, end) if start < end else None


async def pieces(files: Files, key: str, start: int, end: int) -> AsyncIterator[bytes]:
    try:
        async for piece in files.read(key, start, end):
            yield piece
    except FileNotFoundError:
        # Deleted while it was read: the length was told already, so the connection can only end.
        raise ConnectionResetError from None
