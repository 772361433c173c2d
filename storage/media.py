"""Uploaded files: whose they are, where they lie, which message sent them, and the space they take.

A file is ``arriving`` until it lies in its place, ``ready`` until a message sends it, ``sent`` as long as that message is
there. What nobody sent in time, and what was deleted, is ``doomed``; when the file is gone, so is the row, but that of a
sent one stays as ``gone``: its hash still says whether a message under an idempotency key is the same.

A forwarded file is a row of its own with the same key; the file is removed with the last of these rows. Its space counts for
the owner of one of them.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, text, update

from storage.errors import Conflict
from storage.models import EXPIRING, chats, media, media_usage
from storage.prepared import Bulk, Prepared
from storage.statements import Read
from storage.transaction import Tx, first

Kind = Literal["image", "video", "audio", "file"]
State = Literal["arriving", "ready", "sent", "doomed", "gone"]
WHOLE_TENANT = 0
ROOM = (media_usage.c.tenant_pk == bindparam("tenant")) & (media_usage.c.user_pk == bindparam("user"))


@dataclass(frozen=True, slots=True)
class Media:
    """``key`` names the file where files lie; ``duration`` is in seconds; ``chat_pk`` and ``seq`` say who sent it."""

    pk: int
    id: str
    tenant_pk: int
    owner_pk: int
    key: str
    state: State
    kind: Kind
    mime: str
    name: str
    size: int
    hash: str
    width: int | None
    height: int | None
    duration: float | None
    thumbnail: bool
    chat_pk: int | None
    seq: int | None
    charged: bool

    @property
    def thumbnail_key(self) -> str:
        return f"{self.key}.webp"


SELECT = select(*(media.c[name] for name in Media.__slots__))
FIND = Prepared(
    SELECT.outerjoin(chats, chats.c.pk == media.c.chat_pk).where(
        media.c.id == bindparam("id"), or_(media.c.chat_pk.is_(None), chats.c.deleted_at.is_(None))
    )
)
COPIED = ("tenant_pk", "key", "kind", "mime", "name", "size", "hash", "width", "height", "duration", "thumbnail")
ADD_COPY = Bulk(media, (*COPIED, "id", "owner_pk", "state", "chat_pk", "seq", "created_at", "charged"))
LIVE = ("arriving", "ready", "sent")


def add(tx: Tx, *, expires_at: int, room: tuple[int, int], **values: Any) -> None:
    """Keep what is about to be stored; whoever calls holds the tenant's media.

    Raises Conflict where it would take more than the ``room`` in bytes of the user or of the tenant.
    """
    tenant_pk, owner_pk, size = values["tenant_pk"], values["owner_pk"], values["size"]
    for user_pk, limit, whose in ((owner_pk, room[0], "Your"), (WHOLE_TENANT, room[1], "The tenant's")):
        if used(tx.connection(), tenant_pk, user_pk) + size > limit:
            raise Conflict(f"{whose} files may take {limit} bytes", code="storage_full")
        charge(tx, tenant_pk, user_pk, size)
    tx.execute(insert(media), {**values, "state": "arriving", "created_at": tx.now, "expires_at": expires_at})


def used(connection: Connection, tenant_pk: int, user_pk: int) -> int:
    """Bytes of a user's files, or of all the tenant's."""
    statement = select(media_usage.c.bytes).where(ROOM)
    return int(connection.execute(statement, {"tenant": tenant_pk, "user": user_pk}).scalar() or 0)


def charge(tx: Tx, tenant_pk: int, user_pk: int, size: int) -> None:
    who = {"tenant": tenant_pk, "user": user_pk}
    if not tx.execute(update(media_usage).where(ROOM).values(bytes=media_usage.c.bytes + size), who).rowcount:
        tx.execute(insert(media_usage), {"tenant_pk": tenant_pk, "user_pk": user_pk, "bytes": size})


def find(source: Tx | Connection, id: str) -> Media | None:
    """None also for what was sent to a chat that is deleted."""
    row = first(source, FIND, {"id": id})
    return Media(*row) if row else None


def reads_of_find(id: str) -> list[Read]:
    """The queries of ``find``."""
    return [(FIND, {"id": id})]


def copy(tx: Tx, original: Media, *, id: str, owner_pk: int, chat_pk: int, seq: int) -> Media:
    """The file of a message that forwards another one, whose chat the transaction holds."""
    values = tuple(getattr(original, name) for name in COPIED)
    tx.later(ADD_COPY, (*values, id, owner_pk, "sent", chat_pk, seq, tx.now, False))
    return replace(original, id=id, owner_pk=owner_pk, state="sent", chat_pk=chat_pk, seq=seq, charged=False)


def arrived(tx: Tx, id: str, *, ttl: int) -> Media:
    """It lies in its place, and may be sent for so many microseconds."""
    here = {"state": "ready", "expires_at": tx.now + ttl}
    tx.execute(update(media).where(media.c.id == id, media.c.state == "arriving").values(here))
    found = find(tx.connection(), id)
    if found is None or found.state != "ready":
        raise Conflict("Storing the file took too long")
    return found


def send(tx: Tx, id: str, chat_pk: int, seq: int) -> None:
    """A message sends it; whoever calls holds it, and has seen that it is ready."""
    sent = {"state": "sent", "chat_pk": chat_pk, "seq": seq, "expires_at": None}
    tx.execute(update(media).where(media.c.id == id).values(sent))


def schedule_removal(tx: Tx, chat_pk: int, *, seq: int | None = None, upto: int | None = None) -> None:
    """What a message sent, or all of a chat up to one, is to go."""
    condition = (media.c.chat_pk == chat_pk) & (media.c.state == "sent")
    if seq is not None:
        condition &= media.c.seq == seq
    if upto is not None:
        condition &= media.c.seq <= upto
    tx.execute(update(media).where(condition).values(state="doomed", expires_at=tx.now))


def drop(tx: Tx, id: str) -> None:
    """What was not sent is to go at once."""
    waiting = media.c.state.in_(("arriving", "ready"))
    tx.execute(update(media).where(media.c.id == id, waiting).values(state="doomed", expires_at=tx.now))


def drop_all(tx: Tx, owner_pk: int) -> None:
    """What a user uploaded and did not send is to go at once."""
    theirs = (text(EXPIRING), media.c.owner_pk == owner_pk, media.c.state.in_(("arriving", "ready")))
    tx.execute(update(media).where(*theirs).values(state="doomed", expires_at=tx.now))


def expire(tx: Tx) -> None:
    """Marks files that were not sent in time for removal."""
    late = (text(EXPIRING), media.c.expires_at < tx.now, media.c.state.in_(("arriving", "ready")))
    tx.execute(update(media).where(*late).values(state="doomed"))


def doomed(connection: Connection, at: int, *, limit: int = 100) -> list[Media]:
    statement = SELECT.where(text(EXPIRING), media.c.expires_at <= at, media.c.state == "doomed")
    return [Media(*row) for row in connection.execute(statement.order_by(media.c.expires_at).limit(limit))]


def put_off(tx: Tx, pk: int, until: int) -> None:
    """Its file could not be removed yet."""
    tx.execute(update(media).where(media.c.pk == pk, media.c.state == "doomed").values(expires_at=until))


def is_shared(connection: Connection, item: Media) -> bool:
    """Whether another row still needs the file."""
    others = select(media.c.pk).where(media.c.key == item.key, media.c.pk != item.pk, media.c.state.in_(LIVE))
    return connection.execute(others.limit(1)).first() is not None


def gone(tx: Tx, item: Media) -> None:
    """After its file was removed, or where others share it: release its space, or have it count for the next owner.

    The caller holds the lock of the tenant's media.
    """
    mine = (media.c.pk == item.pk) & (media.c.state == "doomed")
    charged = tx.execute(select(media.c.charged).where(mine)).scalar()
    if item.seq is None:
        tx.execute(delete(media).where(mine))
    else:
        tx.execute(update(media).where(mine).values(state="gone", expires_at=None))
    if not charged:
        return
    charge(tx, item.tenant_pk, item.owner_pk, -item.size)
    heirs = select(media.c.pk, media.c.owner_pk).where(media.c.key == item.key, media.c.state.in_(LIVE))
    heir = tx.execute(heirs.where(media.c.pk != item.pk).order_by(media.c.pk).limit(1)).first()
    if heir is None:
        charge(tx, item.tenant_pk, WHOLE_TENANT, -item.size)
    else:
        tx.execute(update(media).where(media.c.pk == heir.pk).values(charged=True))
        charge(tx, item.tenant_pk, heir.owner_pk, item.size)
