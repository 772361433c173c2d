"""Forms: text fields, and a file that is received into a temporary place, counted and hashed as it comes."""

import asyncio
import hashlib
import logging
import re
import secrets
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from realtime.cluster.rates import Rates
from realtime.decoding import Decoder
from realtime.media import Upload
from realtime.schema.caller import Caller
from realtime.schema.limits import KIB, Limits
from realtime.schema.parsing import parse_json
from storage.errors import Invalid, Malformed, TooLarge, TooMany, Unavailable
from storage.text import cut, is_blank, without_directions
from storage.types import new_id

logger = logging.getLogger("bellwire.http")

WHOLE = re.compile(r"-?[0-9]{1,19}")
# Their fields hold JSON.
JSON_FIELDS = ("metadata", "creditTransfer", "mentions", "mentionAll", "alsoInChat")
CHUNK = 256 * KIB
WATCH_SECONDS = 0.25
MOST_PARTS = 32
# Controls, lone surrogates, and separators of lines and paragraphs; joiners and spaces of all kinds belong to names.
NO_PART_OF_NAMES = frozenset(("Cc", "Cs", "Zl", "Zp"))
UPLOAD: web.RequestKey[Upload] = web.RequestKey("upload", Upload)
UPLOADER: web.RequestKey[Caller] = web.RequestKey("uploader", Caller)
FORM = "multipart/form-data"


async def read_form(request: web.Request, limits: Limits, folder: Path) -> dict[str, Any]:
    """Text parts by name; ``metadata`` and ``creditTransfer`` are JSON.

    ``file`` is the id of an upload; where the file itself comes, that is received into ``folder``, gets an id, and is the
    request's ``UPLOAD``, for the caller to discard. Raises Malformed, TooLarge, Invalid.
    """
    if request.content_length is not None and request.content_length > limits.upload + 2 * limits.body:
        raise TooLarge(f"The file exceeds {limits.upload} bytes")
    values: dict[str, Any] = {}
    try:
        async with asyncio.timeout(limits.upload_seconds) as deadline:
            watching = asyncio.create_task(watch(request, limits.upload + 2 * limits.body, deadline))
            try:
                await read_parts(request, limits, folder, values)
            finally:
                watching.cancel()
    except TimeoutError:
        if watching.done() and not watching.cancelled():
            raise TooLarge(f"The file exceeds {limits.upload} bytes") from None
        raise Malformed(f"The form was not received within {limits.upload_seconds:g} seconds") from None
    except (ValueError, AssertionError, LookupError, RuntimeError, web.RequestPayloadError, HttpProcessingError):
        raise Malformed("The form cannot be read") from None
    for name in JSON_FIELDS:
        if values.get(name) == "":
            del values[name]
        elif name in values:
            values[name] = parse_json(values[name], limits)
    if isinstance(values.get("amount"), str) and WHOLE.fullmatch(values["amount"]):
        values["amount"] = int(values["amount"])
    return values


class Uploads:
    """How many files are uploaded at the same time, and how often by a user."""

    def __init__(self, rates: Rates, limits: Limits, decoder: Decoder) -> None:
        self.rates = rates
        self.limits = limits
        self.decoder = decoder
        self.of_user: Counter[int] = Counter()
        self.of_tenant: Counter[int] = Counter()

    async def begin(self, caller: Caller) -> None:
        """Raises TooMany where the user uploads too much, Unavailable where all together do."""
        if self.of_user[caller.pk] >= self.limits.uploads_at_once:
            raise TooMany(f"At most {self.limits.uploads_at_once} concurrent uploads per user")
        most = self.limits.uploads_under_way
        if self.of_user.total() >= most or self.of_tenant[caller.user.tenant_pk] >= max(1, most // 2):
            raise Unavailable("Server overloaded: too many uploads; try again later")
        self.decoder.require_budget(caller.pk)
        self.of_user[caller.pk] += 1
        self.of_tenant[caller.user.tenant_pk] += 1
        try:
            await self.rates.spend(self.rates.uploads, str(caller.pk))
        except BaseException:
            self.end(caller)
            raise

    def end(self, caller: Caller) -> None:
        for count, key in ((self.of_user, caller.pk), (self.of_tenant, caller.user.tenant_pk)):
            count[key] -= 1
            if not count[key]:
                del count[key]


async def watch(request: web.Request, limit: int, deadline: asyncio.Timeout) -> None:
    """Bytes before and between the parts count too, and are ignored otherwise."""
    while request.content.total_bytes <= limit:
        await asyncio.sleep(WATCH_SECONDS)
    deadline.reschedule(0)


async def read_parts(request: web.Request, limits: Limits, folder: Path, values: dict[str, Any]) -> None:
    size = parts = 0
    async for part in await request.multipart():
        parts += 1
        if not isinstance(part, BodyPartReader) or part.name is None or parts > MOST_PARTS:
            raise Malformed(f"The form must have at most {MOST_PARTS} parts, each with a name")
        if part.headers.get("Content-Transfer-Encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
            raise Malformed("Content-Transfer-Encoding is not supported")
        part.name.encode()
        if part.filename is not None:
            upload = await receive(part, limits, folder)
            if upload.size == 0 and not part.filename:
                # An empty field of a page's form.
                upload.discard()
            elif part.name != "file" or UPLOAD in request:
                upload.discard()
                raise Invalid.field(part.name, "The form must have at most one file, in the part named file")
            else:
                request[UPLOAD] = upload
                values["file"] = upload.id
            continue
        chunk = await part.read()
        size += len(chunk)
        if size > limits.body:
            raise TooLarge(f"The fields must be at most {limits.body} bytes")
        if UPLOAD not in request or part.name != "file":
            values[part.name] = chunk.decode()


async def receive(part: BodyPartReader, limits: Limits, folder: Path) -> Upload:
    """Raises TooLarge as soon as it is, Unavailable where it can't be kept."""
    path = folder / secrets.token_hex(16)
    digest, size = hashlib.sha256(), 0
    try:
        with await asyncio.to_thread(path.open, "xb") as file:
            while chunk := await part.read_chunk(CHUNK):
                size += len(chunk)
                if size > limits.upload:
                    raise TooLarge(f"The file exceeds {limits.upload} bytes")
                await asyncio.to_thread(absorb, file, digest, chunk)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
            logger.error("an upload could not be stored: %s", error)
            raise Unavailable("No space left for files") from None
        raise
    return Upload(new_id(), path, file_name(part.filename, limits), size, digest.hexdigest())


def absorb(file: BinaryIO, digest: Any, chunk: bytes) -> None:
    file.write(chunk)
    digest.update(chunk)


def file_name(given: str | None, limits: Limits) -> str:
    """The last part of what the client calls a file, without controls and what turns it; its suffix stays when it is cut."""
    last = re.split(r"[/\\]", given or "")[-1]
    shown = "".join(each for each in without_directions(last) if unicodedata.category(each) not in NO_PART_OF_NAMES)
    name = "file" if is_blank(shown) else shown.strip(" .") or "file"
    stem, dot, suffix = name.rpartition(".")
    if len(name) <= limits.file_name or not stem or len(suffix) > 16:
        return cut(name, limits.file_name)
    return cut(stem, limits.file_name - len(dot + suffix)) + dot + suffix
