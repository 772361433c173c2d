"""Devices of users, and the tokens under which they can be pushed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, bindparam, delete, exists, insert, or_, select, update

from storage.models import devices, logins, users
from storage.prepared import Delete, Prepared, Update
from storage.statements import Read
from storage.transaction import Tx

APPLE = "ios"
# By which provider a device is pushed to.
PROVIDER_OF_PLATFORM = {"ios": "apns", "android": "fcm", "web": "webpush"}
# To all who listen to a channel of Apple's.
CHANNEL_PROVIDER = "apns_channels"
# Features of an app: it starts Live Activities by channel, it shows live updates, it can show nothing.
CHANNEL, ONGOING, QUIET = "live.channel", "live.ongoing", "quiet"
# Browsers that registered before they could be pushed to have no keys.
PUSHABLE = or_(devices.c.platform != "web", devices.c.p256dh.is_not(None))


@dataclass(frozen=True, slots=True)
class Device:
    """``registered_at`` is when the token was last said to be this device's, in microseconds. ``token_kind`` is ``fid`` or
    ``token``, where an Android app said it; ``features`` are what the app can do, joined by spaces. Of a browser
    ``push_token`` is the address of its subscription, ``bundle_id`` the public key that it was made with, and ``p256dh`` and
    ``auth`` are its own keys.
    """

    pk: int
    user_pk: int
    login_id: str | None
    device_id: str
    platform: str
    push_token: str
    environment: str
    bundle_id: str
    push_to_start_token: str | None
    token_kind: str | None
    features: str
    p256dh: str | None
    auth: str | None
    locale: str | None
    registered_at: int
    created_at: int

    @property
    def provider(self) -> str | None:
        """None where nothing can be pushed to it."""
        return None if self.platform == "web" and self.p256dh is None else PROVIDER_OF_PLATFORM[self.platform]


SELECT = select(*(devices.c[name] for name in Device.__slots__))
TOKEN_OF = Prepared(
    select(devices.c.push_token, devices.c.registered_at).where(devices.c.pk == bindparam("pk")).with_for_update(),
    locks=True,
)
DROP = Delete(devices, ("pk", "push_token"))
FORGET_START_TOKEN = Update(devices, ("pk", "push_to_start_token"), (), also="push_to_start_token = NULL")


def signed_in(at: int | BindParameter[int]) -> ColumnElement[bool]:
    """That the login a device was registered with has neither ended nor expired; those of tokens without one stay."""
    living = exists().where(logins.c.id == devices.c.login_id, logins.c.ended_at.is_(None), logins.c.expires_at > at)
    return or_(devices.c.login_id.is_(None), living)


def register(tx: Tx, user_pk: int, values: Mapping[str, Any]) -> tuple[Device, bool]:
    """Keep a device of a user, and whether it is new. Whoever had its token before loses it."""
    token = values["push_token"]
    # Earlier versions kept tokens of Apple's in capitals where they came so.
    spellings = [token, token.upper()] if values["platform"] == APPLE else [token]
    # Elsewhere than at Apple a token is valid by itself.
    same_app = devices.c.environment == values["environment"], devices.c.bundle_id == values["bundle_id"]
    clash = (
        devices.c.push_token.in_(spellings),
        *(same_app if values["platform"] == APPLE else ()),
        or_(devices.c.user_pk != user_pk, devices.c.device_id != values["device_id"]),
    )
    tx.execute(delete(devices).where(*clash))
    known = find(tx.connection(), user_pk, values["device_id"])
    if known:
        tx.execute(update(devices).where(devices.c.pk == known.pk).values(**values, registered_at=tx.now))
    else:
        tx.execute(insert(devices), {**values, "user_pk": user_pk, "registered_at": tx.now, "created_at": tx.now})
    device = find(tx.connection(), user_pk, values["device_id"])
    assert device is not None
    return device, known is None


def find(connection: Connection, user_pk: int, device_id: str) -> Device | None:
    row = connection.execute(SELECT.where(devices.c.user_pk == user_pk, devices.c.device_id == device_id)).first()
    return Device(*row) if row else None


def named(connection: Connection, tenant_pk: int, device_id: str) -> list[Device]:
    """The devices of a tenant's users that have this id."""
    of_tenant = select(users.c.pk).where(users.c.tenant_pk == tenant_pk)
    rows = connection.execute(SELECT.where(devices.c.device_id == device_id, devices.c.user_pk.in_(of_tenant)))
    return [Device(*row) for row in rows]


def count(connection: Connection, user_pk: int) -> int:
    return len(connection.execute(select(devices.c.pk).where(devices.c.user_pk == user_pk)).all())


def page(connection: Connection, user_pk: int, *, after: int, limit: int) -> list[Device]:
    rows = connection.execute(
        SELECT.where(devices.c.user_pk == user_pk, devices.c.pk > after).order_by(devices.c.pk).limit(limit)
    )
    return [Device(*row) for row in rows]


def remove(tx: Tx, pk: int) -> None:
    tx.execute(delete(devices).where(devices.c.pk == pk))


def drop_token(tx: Tx, pk: int, token: str, before: int | None) -> bool:
    """Forget a device whose token is dead, unless it has another one by now, or this one was registered after ``before``."""
    found = tx.first(TOKEN_OF, {"pk": pk})
    if found is None or found[0] != token or (before is not None and found[1] >= before):
        return False
    tx.update_later(DROP, (pk, token), ())
    return True


def reads_of_drop(pk: int) -> list[Read]:
    """The queries of ``drop_token``."""
    return [(TOKEN_OF, {"pk": pk})]


def drop_start_token(tx: Tx, pk: int, token: str) -> None:
    """Nothing can be started under this token any more."""
    tx.update_later(FORGET_START_TOKEN, (pk, token), ())
