"""Media: uploads, who may see them, links that expire, and the removal of files that were not sent or were deleted."""

import asyncio
import contextlib
import fnmatch
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from realtime.decoding import Decoder
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.signing import Signer
from storage import media
from storage.access import find_access
from storage.database import Database
from storage.errors import Forbidden, NotFound, Unavailable, Unsupported
from storage.files import Files
from storage.media import Media
from storage.transaction import Command, Tx
from storage.types import SECOND, now

logger = logging.getLogger("bellwire.media")

PATH = "/api/v2/media"
LINK_TTL_SECONDS = 600
STORING_MICROSECONDS = 3600 * SECOND
STALE = 24 * 3600


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was received into a temporary place. ``name`` is what the client calls it; ``hash`` is its SHA-256."""

    id: str
    path: Path
    name: str
    size: int
    hash: str

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)


class MediaService:
    """``types`` are accepted patterns; ``signer`` signs links; files that are not sent within ``unsent`` seconds are removed.

    Uploads are received into the folder ``temporary``.
    """

    def __init__(
        self,
        database: Database,
        files: Files,
        limits: Limits,
        *,
        types: Sequence[str],
        signer: Signer,
        public_url: Callable[[], str],
        unsent: float,
        temporary: Path,
    ) -> None:
        self.database = database
        self.files = files
        self.limits = limits
        self.types = types
        self.signer = signer
        self.public_url = public_url
        self.unsent = int(unsent * SECOND)
        self.decoder = Decoder(limits)
        self.temporary = temporary.absolute()
        temporary.mkdir(parents=True, exist_ok=True)

    async def keep(self, caller: Caller, upload: Upload) -> Media:
        """Look into an upload and store it, for its uploader to send.

        Raises Invalid for an empty or corrupt file, Unsupported for a refused type, Conflict over a quota, TooMany and
        Unavailable as the decoder does.
        """
        thumbnail = upload.path.with_suffix(".webp")
        try:
            found = await self.decoder.look(upload.path, thumbnail, user_pk=caller.pk, tenant_pk=caller.user.tenant_pk)
            if not any(fnmatch.fnmatchcase(found.mime, pattern) for pattern in self.types):
                raise Unsupported(f"File type not allowed: {found.mime}")
            tenant_pk, name = caller.user.tenant_pk, secrets.token_hex(16)
            key = f"{name[:2]}/{name}"

            def reserve(tx: Tx) -> None:
                caller.fresh(tx)
                media.add(
                    tx,
                    expires_at=tx.now + STORING_MICROSECONDS,
                    room=(self.limits.media_per_user, self.limits.media_per_tenant),
                    id=upload.id,
                    tenant_pk=tenant_pk,
                    owner_pk=caller.pk,
                    key=key,
                    kind=found.kind,
                    mime=found.mime,
                    name=upload.name,
                    size=upload.size,
                    hash=upload.hash,
                    width=found.width,
                    height=found.height,
                    duration=found.duration,
                    thumbnail=found.thumbnail,
                )

            await self.database.write(Command(reserve, keys=[all_of(tenant_pk)]))
            try:
                if found.thumbnail:
                    await self.files.put(f"{key}.webp", thumbnail)
                await self.files.put(key, upload.path)
                arrived = partial(media.arrived, id=upload.id, ttl=self.unsent)
                return await self.database.write(Command(arrived, keys=[one(upload.id)]))
            except BaseException:
                with contextlib.suppress(Unavailable):
                    await self.drop(upload.id)
                    # It may have expired already, and its row be gone.
                    await self._delete(key)
                raise
        finally:
            thumbnail.unlink(missing_ok=True)

    async def _delete(self, key: str) -> None:
        await self.files.delete(f"{key}.webp")
        await self.files.delete(key)

    async def drop(self, id: str) -> None:
        """It will not be sent."""
        await self.database.write(Command(partial(media.drop, id=id), keys=[one(id)]))

    async def get(self, caller: Caller, id: str) -> Media:
        """Raises NotFound for what the caller can't see: what others have not sent, or in chats they are not in."""

        def look(connection: Connection) -> Media:
            item = existing(connection, id)
            if item.tenant_pk != caller.user.tenant_pk:
                raise NotFound
            if item.state == "ready" and item.owner_pk != caller.pk:
                raise NotFound
            if item.chat_pk is not None and item.seq is not None:
                access = find_access(connection, item.chat_pk, caller.pk)
                if access is None or item.seq < access.first_seq:
                    raise NotFound
            return item

        return await self.database.read(look)

    async def link(self, caller: Caller, id: str) -> tuple[str, int]:
        """A URL that needs no token, and until when, in microseconds. Raises NotFound."""
        await self.get(caller, id)
        expires = int(time.time()) + LINK_TTL_SECONDS
        url = f"{self.public_url()}{PATH}/{id}?expires={expires}&signature={self.signer.sign(link_text(id, expires))}"
        return url, expires * SECOND

    async def linked(self, id: str, expires: int, signature: str) -> Media:
        """What a link shows. Raises Forbidden for one that is none of ours or has expired, NotFound."""
        if not self.signer.is_signed(link_text(id, expires), signature):
            raise Forbidden("The link is invalid")
        if time.time() > expires:
            raise Forbidden("The link has expired")
        return await self.database.read(lambda connection: existing(connection, id))

    async def sweep(self) -> None:
        """Remove files that were deleted, that were not sent in time, and that a crash left."""
        await asyncio.to_thread(remove_stale, self.temporary)
        await self.database.write(Command(media.expire))
        while items := await self.database.read(lambda connection: media.doomed(connection, now())):
            for item in items:
                try:
                    if not await self.database.read(partial(media.is_shared, item=item)):
                        await self._delete(item.key)
                    gone = partial(media.gone, item=item)
                    await self.database.write(Command(gone, keys=[all_of(item.tenant_pk)]))
                except Unavailable as error:
                    logger.warning("a file could not be removed; retrying later: %s", error.__cause__ or error)
                    later = partial(media.put_off, pk=item.pk, until=now() + STORING_MICROSECONDS)
                    await self.database.write(Command(later))


def link_text(id: str, expires: int) -> str:
    return f"{id} {expires}"


def remove_stale(folder: Path) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink()


def existing(connection: Connection, id: str) -> Media:
    """Raises NotFound for what is not there any more, or not yet."""
    item = media.find(connection, id)
    if item is None or item.state not in ("ready", "sent"):
        raise NotFound
    return item


def one(id: str) -> str:
    """The key under which an upload is locked."""
    return f"media:{id}"


def all_of(tenant_pk: int) -> str:
    """The key under which the space of a tenant's files is locked."""
    return f"media-space:{tenant_pk}"
