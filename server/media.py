"""Media over REST: uploads, and files served as what they are, in parts if asked."""

import contextlib
import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import Annotated
from urllib.parse import quote

from aiohttp import web
from pydantic import Field

from realtime.schema import message_documents
from realtime.schema.bodies import Body
from realtime.schema.fields import HexId, Text
from realtime.schema.message_shapes import LinkDocument, UploadDocument
from server.call import Answer, Call, Created, NoBody
from server.conditions import not_modified, precondition_failed
from storage.errors import Invalid, NotFound, Unavailable, Unsupported
from storage.media import Media
from storage.types import iso_time

logger = logging.getLogger("bellwire.media")

POLICY = "default-src 'none'; sandbox"
SHOWN = ("image", "video", "audio")
ONE_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
Part = tuple[int, int]
WHOLE: Part = (0, -1)


class UploadFile(Body):
    """A form with the part ``file``."""

    file: HexId


class Linked(Body):
    """What a link carries."""

    expires: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    signature: Text | None = None


async def upload(call: Call[UploadFile]) -> Answer[UploadDocument]:
    if call.upload is None:
        raise Unsupported("Send the file in the part file of a multipart/form-data body")
    item = await call.services.media.keep(call.caller, call.upload)
    return Created({"id": item.id, "media": message_documents.media_of(item, call.services.public_url)})


async def link(call: Call) -> Answer[LinkDocument]:
    url, expires_at = await call.services.media.link(call.caller, call.id())
    return Created({"url": url, "expiresAt": iso_time(expires_at)})


async def show(call: Call[NoBody, Linked]) -> web.Response:
    item = await required_media(call)
    return await serve(call, item.key, item.size, item.mime, item, item.hash)


async def thumbnail(call: Call[NoBody, Linked]) -> web.Response:
    """Raises NotFound where there is none."""
    item = await required_media(call)
    if not item.thumbnail:
        raise NotFound
    with missing(item):
        size = await call.services.media.files.size(item.thumbnail_key)
    return await serve(call, item.thumbnail_key, size, "image/webp", item, f"{item.hash}-thumbnail")


async def required_media(call: Call[NoBody, Linked]) -> Media:
    """By a link, or by who asks. Raises Unauthenticated, Forbidden, NotFound."""
    service, query = call.services.media, call.query
    if query.signature is not None:
        if query.expires is None:
            raise Invalid.field("expires", "is required in a link")
        return await service.linked(call.id(), query.expires, query.signature)
    return await service.get(call.caller, call.id())


async def serve(call: Call[NoBody, Linked], key: str, size: int, mime: str, item: Media, version: str) -> web.Response:
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
    if precondition_failed(request, version):
        return web.Response(status=412, headers=headers)
    if not_modified(request, version):
        return web.Response(status=304, headers=headers)
    part = part_of(request, size, version)
    if part is None:
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    start, end = part
    status, (start, end) = (200, (0, size)) if part is WHOLE else (206, part)
    headers["Content-Length"] = str(end - start)
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    if request.method == "HEAD":
        return web.Response(headers=headers)
    pieces = call.services.media.files.read(key, start, end)
    with missing(item):
        first = await anext(pieces, b"")
    return web.Response(status=status, headers=headers, body=body_of(first, pieces))


def part_of(request: web.Request, size: int, version: str) -> Part | None:
    """From where up to where; None for a part that there is not. What can't be read asks for all (RFC 9110, 14.2)."""
    asked = ONE_RANGE.fullmatch(request.headers.get("Range", ""))
    same = request.headers.get("If-Range") in (None, f'"{version}"')
    if request.method != "GET" or not same or not asked or not any(asked.groups()):
        return WHOLE
    first, last = (int(each) if each else None for each in asked.groups())
    if first is None:
        start, end = max(0, size - (last or 0)), size
    else:
        start, end = first, min(size, size if last is None else last + 1)
        if last is not None and last < first:
            return WHOLE
    return (start, end) if start < end else None


@contextlib.contextmanager
def missing(item: Media) -> Iterator[None]:
    """Removed a moment ago; or lost, which is logged."""
    try:
        yield
    except FileNotFoundError:
        logger.error("the stored file of %s is missing", item.id)
        raise NotFound from None


async def body_of(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The length was sent already: if the rest can't be read, the connection can only be closed."""
    yield first
    try:
        async for piece in rest:
            yield piece
    except (FileNotFoundError, Unavailable) as error:
        logger.warning("sending a file failed: %s", error)
        raise ConnectionResetError from None
