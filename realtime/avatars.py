"""Pictures of users: made of an uploaded image, shown within the tenant."""

import asyncio
import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

from realtime.decoding import Decoder
from realtime.media import Upload
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from storage import accounts, avatars
from storage.accounts import User
from storage.avatars import Avatar
from storage.database import Database
from storage.errors import NotFound, TooLarge, Unsupported
from storage.transaction import Command, Tx

# Of the hash, in the URL: another picture has another URL.
VERSION_LENGTH = 12


class Avatars:
    """``on_change`` is called when users have changed, so that nothing keeps what it knows of them."""

    def __init__(
        self,
        database: Database,
        decoder: Decoder,
        limits: Limits,
        public_url: Callable[[], str],
        on_change: Callable[[], Any],
    ) -> None:
        self.database = database
        self.decoder = decoder
        self.limits = limits
        self.public_url = public_url
        self.on_change = on_change

    async def put(self, caller: Caller, upload: Upload) -> User:
        """Raises TooLarge, Unsupported for what is no image, and what the decoder raises."""
        if upload.size > self.limits.avatar:
            raise TooLarge(f"The image exceeds {self.limits.avatar} bytes")
        square = upload.path.with_suffix(".webp")
        try:
            found = await self.decoder.look(
                upload.path, square, user_pk=caller.pk, tenant_pk=caller.user.tenant_pk, square=True
            )
            if found.kind != "image" or not found.thumbnail:
                raise Unsupported("The file must be a JPEG, PNG, GIF or WebP image")
            data = await asyncio.to_thread(square.read_bytes)
        finally:
            square.unlink(missing_ok=True)
        avatar = Avatar(hashlib.sha256(data).hexdigest(), data)
        url = f"{self.public_url()}/api/v1/users/{caller.user.id}/avatar?v={avatar.hash[:VERSION_LENGTH]}"

        def apply(tx: Tx) -> User:
            pk = caller.fresh(tx).pk
            avatars.put(tx, pk, avatar)
            return accounts.change(tx, pk, {"avatar_url": url})

        return await self._write(caller, apply)

    async def remove(self, caller: Caller) -> User:
        def apply(tx: Tx) -> User:
            pk = caller.fresh(tx).pk
            avatars.remove(tx, pk)
            return accounts.change(tx, pk, {"avatar_url": None})

        return await self._write(caller, apply)

    async def get(self, caller: Caller, user_id: str) -> Avatar:
        """Raises NotFound."""
        avatar = await self.database.read(partial(avatars.find, tenant_pk=caller.user.tenant_pk, user_id=user_id))
        if avatar is None:
            raise NotFound
        return avatar

    async def _write(self, caller: Caller, apply: Callable[[Tx], User]) -> User:
        user = await self.database.write(Command(apply, channels=[caller.pk]))
        self.on_change()
        return user
