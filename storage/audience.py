"""Who is pushed for a cause in the outbox: its devices or Live Activities, page by page."""

from typing import NamedTuple

from sqlalchemy import Connection, and_, exists, or_, select

from storage.activities import to_push
from storage.devices import PUSHABLE, signed_in
from storage.models import activities, blocks, devices, followers, members, messages, users
from storage.outbox import ON_SCREEN, Cause

PAGE = 500


class RecipientPage(NamedTuple):
    """Devices of a part of a cause's audience, ``(user_pk, target_pk)``; ``cursor`` is None after the last."""

    devices: list[tuple[int, int]]
    cursor: int | None


def next_page(connection: Connection, cause: Cause, at: int) -> RecipientPage:
    """The next page after the cause's cursor, ordered by user: devices that can be pushed to, or Live Activities."""
    if cause.kind in ON_SCREEN:
        found = to_push(connection, cause.channel_pk, after=cause.cursor, only=cause.ref_pk, limit=PAGE)
        return RecipientPage(found, found[-1][1] if len(found) == PAGE else None)
    query = select(devices.c.user_pk, devices.c.pk).where(devices.c.platform == PUSHABLE, signed_in(at))
    if cause.kind == "message":
        query = (
            query.join(members, members.c.user_pk == devices.c.user_pk)
            .join(users, users.c.pk == devices.c.user_pk)
            .join(messages, and_(messages.c.chat_pk == members.c.chat_pk, messages.c.seq == cause.seq))
            .where(
                members.c.chat_pk == cause.channel_pk,
                members.c.user_pk > cause.cursor,
                members.c.user_pk != messages.c.sender_pk,
                members.c.joined_seq < cause.seq,
                members.c.read_seq < cause.seq,
                or_(members.c.muted_until.is_(None), members.c.muted_until <= at),
                messages.c.deleted_at.is_(None),
                users.c.status == "active",
                ~exists().where(blocks.c.user_pk == members.c.user_pk, blocks.c.blocked_pk == messages.c.sender_pk),
            )
        )
    elif cause.kind == "recount":
        query = (
            query.join(members, members.c.user_pk == devices.c.user_pk)
            .join(users, users.c.pk == devices.c.user_pk)
            .where(
                members.c.chat_pk == cause.channel_pk,
                members.c.user_pk > cause.cursor,
                members.c.joined_seq < cause.seq,
                members.c.read_seq < cause.seq,
                or_(members.c.muted_until.is_(None), members.c.muted_until <= at),
                users.c.status == "active",
            )
        )
        if cause.ref_pk is not None:
            query = query.where(members.c.user_pk != cause.ref_pk)
    elif cause.kind == "live_start":
        if cause.ref_pk is not None:
            query = query.where(devices.c.user_pk == cause.ref_pk)
        query = query.where(
            devices.c.user_pk.in_(select(followers.c.user_pk).where(followers.c.stream_pk == cause.channel_pk)),
            devices.c.user_pk > cause.cursor,
            devices.c.push_to_start_token.is_not(None),
            ~exists().where(
                activities.c.stream_pk == cause.channel_pk,
                activities.c.user_pk == devices.c.user_pk,
                activities.c.device_id == devices.c.device_id,
                activities.c.state == "active",
            ),
        )
    else:
        query = query.join(users, users.c.pk == devices.c.user_pk).where(
            devices.c.user_pk == cause.channel_pk, users.c.status == "active"
        )
        if cause.kind == "badge" and cause.ref_pk is not None:
            query = query.where(devices.c.pk != cause.ref_pk)
    found = [
        (row[0], row[1]) for row in connection.execute(query.order_by(devices.c.user_pk, devices.c.pk).limit(PAGE))
    ]
    if len(found) < PAGE:
        return RecipientPage(found, None)
    last = found[-1][0]
    whole = [each for each in found if each[0] != last] or found
    return RecipientPage(whole, whole[-1][0])
