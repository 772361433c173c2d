"""What is kept, as the wire shows it: one function a document, used by REST, by acks and by events alike."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, cast

import orjson

from realtime.schema import events, message_documents, shapes
from realtime.schema.bodies import SendBroadcast
from realtime.schema.message_documents import optional_time
from storage import (
    accounts,
    audit,
    broadcasts,
    chat,
    credits,
    deliveries,
    devices,
    log,
    logins,
    messages,
    nodes,
    notifications,
    sanctions,
    streams,
    templates,
    webhooks,
)
from storage.errors import FOREVER
from storage.types import iso_time


def plain_notification(item: notifications.Notification) -> shapes.EnvelopeNotification:
    return {
        "id": item.id,
        "userId": item.recipient.id,
        "type": item.type,
        "category": item.category,
        "title": item.title,
        "message": item.message,
        "metadata": dict(item.metadata),
        "read": item.read_at is not None,
        "createdAt": iso_time(item.created_at),
        "updatedAt": iso_time(item.updated_at),
    }


def notification(item: notifications.Notification) -> shapes.NotificationDocument:
    """As events and acks show it."""
    plain = plain_notification(item)
    document: shapes.NotificationDocument = {
        **plain,  # type: ignore[typeddict-item]
        "number": item.pk,
        "uuid": item.uuid,
        "senderId": item.sender.id,
        "actionUrl": item.action_url,
        "isRead": plain["read"],
        "readAt": optional_time(item.read_at),
        "isActive": item.active,
        "tenantId": item.tenant,
        "templateKey": item.template_key,
        "isActionable": item.actionable,
        "status": "READ" if plain["read"] else "UNREAD",
        "entityType": item.entity_type,
        "entityId": item.entity_id,
        "payload": plain["metadata"],
    }
    if item.deleted_at is not None:
        document["deletedAt"] = iso_time(item.deleted_at)
    return document


def template(item: templates.Template, tenant: str) -> shapes.TemplateDocument:
    return {
        "tenantId": tenant,
        "key": item.key,
        "category": item.category,
        "title": item.title,
        "message": item.message,
        "isActionable": item.actionable,
        "locales": {locale: dict(variant) for locale, variant in item.locales.items()},
        "createdAt": iso_time(item.created_at),
        "updatedAt": iso_time(item.updated_at),
    }


def stream(item: streams.Stream, viewers: int | None = None, peak: int = 0) -> shapes.StreamDocument:
    """With ``viewers``, how many watch an open stream, and how many did at most."""
    document: shapes.StreamDocument = {
        "id": item.id,
        "title": item.title,
        "status": item.status,
        "startsAt": iso_time(item.starts_at),
        "ownerId": item.owner_id,
        "chatId": item.chat_id,
        "createdAt": iso_time(item.created_at),
        "updatedAt": iso_time(item.updated_at),
    }
    if item.audience == "open":
        document["audience"] = item.audience
        if viewers is not None:
            document["viewers"], document["peak"] = viewers, peak
    return document


def sanction(item: sanctions.Sanction) -> shapes.SanctionDocument:
    return {
        "userId": item.user_id,
        "name": item.name,
        "until": end_of(item.until),
        "reason": item.reason,
        "createdAt": iso_time(item.created_at),
    }


def silenced(chat_id: str, until: int) -> events.SilencedEvent:
    return {"chatId": chat_id, "until": end_of(until)}


def end_of(until: int) -> str | None:
    """Of a sanction; None where there is none."""
    return None if until >= FOREVER else iso_time(until)


def broadcast(item: broadcasts.Broadcast) -> shapes.BroadcastDocument:
    return {
        "id": item.id,
        "type": item.type,
        "category": item.category,
        "title": item.title,
        "message": item.message,
        "actionUrl": item.action_url,
        "recipients": item.recipients,
        "sent": item.sent,
        "createdAt": iso_time(item.created_at),
        "doneAt": optional_time(item.done_at),
    }


def broadcast_preview(body: SendBroadcast, recipients: int) -> shapes.BroadcastDocument:
    return {
        "id": None,
        "type": body.type,
        "category": body.category,
        "title": body.title,
        "message": body.message,
        "actionUrl": body.actionUrl,
        "recipients": recipients,
        "sent": 0,
        "createdAt": None,
        "doneAt": None,
    }


def audited(item: audit.AuditEntry) -> shapes.AuditDocument:
    return {
        "id": item.pk,
        "actorId": item.actor_id,
        "action": item.action,
        "target": item.target,
        "details": item.details,
        "createdAt": iso_time(item.at),
    }


def chat_facts(item: chat.Chat) -> shapes.ChatFactsDocument:
    return {
        "_id": item.id,
        "type": item.type,
        "name": item.name,
        "memberCount": item.member_count,
        "seq": item.seq,
        "createdAt": iso_time(item.created_at),
        "updatedAt": iso_time(item.updated_at),
    }


def place_of(node: str) -> str:
    """Host and process."""
    host, *_, process = node.split(" ")
    return f"{host} {process}"


def figures(id: str, place: str, times: Sequence[int], values: Mapping[str, Sequence[float]]) -> shapes.FiguresDocument:
    """``times`` are microseconds."""
    return {
        "id": id,
        "place": place_of(place),
        "times": [each // 1000 for each in times],
        "figures": {name: list(each) for name, each in values.items()},
    }


def node(item: nodes.Seen) -> shapes.NodeDocument:
    return {
        "id": item.id,
        "place": place_of(item.place),
        "startedAt": iso_time(item.started_at),
        "seenAt": iso_time(item.seen_at),
        "figures": dict(item.figures),
    }


def device(item: devices.Device, providers: Collection[str]) -> shapes.DeviceDocument:
    """``providers`` are those by which this installation pushes."""
    return {
        "deviceId": item.device_id,
        "platform": item.platform,
        "environment": item.environment,
        "bundleId": item.bundle_id or None,
        "pushToken": item.push_token,
        "pushToStartToken": item.push_to_start_token,
        "locale": item.locale,
        "tokenKind": item.token_kind,
        "features": item.features.split(),
        "pushable": item.provider in providers,
        "createdAt": iso_time(item.created_at),
        "updatedAt": iso_time(item.registered_at),
    }


def webhook(item: webhooks.Webhook) -> shapes.WebhookDocument:
    return {
        "id": item.id,
        "url": item.url,
        "events": item.events,
        "active": item.active,
        "createdAt": iso_time(item.created_at),
    }


def webhook_call(item: webhooks.WebhookCall) -> shapes.WebhookCallDocument:
    return {
        "id": item.pk,
        "event": item.event,
        "state": item.state,
        "attempts": item.attempts,
        "status": item.status,
        "reason": item.reason,
        "dueAt": iso_time(item.due_at) if item.state == "waiting" else None,
        "createdAt": iso_time(item.created_at),
        "settledAt": optional_time(item.settled_at),
    }


def delivery(item: deliveries.Record) -> shapes.DeliveryDocument:
    return {
        "id": item.pk,
        "kind": item.kind,
        "provider": item.provider,
        "userId": item.user_id,
        "deviceId": item.device_id,
        "pushId": item.push_id,
        "state": item.state,
        "attempts": item.attempts,
        "status": item.status,
        "reason": item.reason,
        "dueAt": iso_time(item.due_at) if item.state == "waiting" else None,
        "createdAt": iso_time(item.created_at),
        "settledAt": optional_time(item.settled_at),
    }


def entry(item: credits.LedgerEntry) -> shapes.CreditDocument:
    return {
        "id": item.id,
        "type": item.kind,
        "amount": item.amount,
        "balance": item.balance,
        "userId": item.other_id,
        "messageId": item.message_id,
        "reason": item.reason,
        "createdAt": iso_time(item.created_at),
    }


def member(item: chat.Member) -> shapes.MemberDocument:
    return {
        "userId": item.user_id,
        "name": item.name,
        "role": item.role,
        "readSeq": item.read_seq,
        "joinedSeq": item.joined_seq,
    }


def conversation(
    item: chat.Chat,
    members: Sequence[chat.Member],
    last: messages.Message | None = None,
    unread: int = 0,
    *,
    mentions: int = 0,
    muted_until: int | None = None,
    mute_level: str | None = None,
    role: str | None = None,
    silenced_until: int | None = None,
) -> shapes.ChatDocument:
    """A chat as one member sees it, or a viewer."""
    document: shapes.ChatDocument = {
        "_id": item.id,
        "type": item.type,
        "name": item.name,
        "historyVisible": item.history_visible,
        "members": [member(each) for each in members],
        "memberCount": item.member_count,
        "lastMessage": None if last is None else message_documents.message(last),
        "unreadCount": unread,
        "mutedUntil": optional_time(muted_until),
        "seq": item.seq,
        "createdAt": iso_time(item.created_at),
        "updatedAt": iso_time(item.updated_at),
    }
    if mentions:
        document["mentionCount"] = mentions
    if mute_level is not None:
        document["muteLevel"] = cast("Literal['none']", mute_level)
    if item.type == "room" and role is not None:
        document["role"] = role
    if item.reactions != "members":
        document["reactions"] = item.reactions
    if silenced_until is not None:
        document["silencedUntil"] = end_of(silenced_until)
    if item.frozen:
        document["frozen"] = True
    if item.slow_mode:
        document["slowMode"] = item.slow_mode
    if item.links != "all":
        document["links"] = item.links
    return document


def chat_event(item: log.PastEvent) -> shapes.ChatEventDocument:
    """Of ``chat:updated``."""
    document = orjson.loads(item.payload)
    return {
        "seq": item.seq,
        "changes": document["changes"],
        "added": document["added"],
        "removed": document["removed"],
        "createdAt": iso_time(item.at),
    }


def user(item: accounts.User, *, private: bool) -> shapes.UserDocument:
    """``private`` adds what only the user and ``users.manage`` see."""
    document: shapes.UserDocument = {
        "id": item.id,
        "number": item.number,
        "uuid": item.uuid,
        "name": item.name,
        "avatarUrl": item.avatar_url,
        "createdAt": iso_time(item.created_at),
    }
    if private:
        quiet = {"from": item.quiet_from, "to": item.quiet_to} if item.quiet_from and item.quiet_to else None
        document |= {
            "email": item.email,
            "tenantId": item.tenant,
            "permissions": sorted(item.permissions),
            "locale": item.locale,
            "timeZone": item.time_zone,
            "quietHours": quiet,  # type: ignore[typeddict-item]
            "status": item.status,
        }
        if item.presence is not None:
            document["presence"] = "nobody"
    return document


def login(item: logins.LivingLogin, *, current: bool) -> shapes.LoginDocument:
    return {
        "id": item.id,
        "device": item.agent,
        "address": item.address,
        "createdAt": iso_time(item.created_at),
        "lastUsedAt": iso_time(item.used_at),
        "current": current,
    }


def presence(user_id: str, online: bool, last_seen_at: int | None) -> shapes.PresenceDocument:
    return {"userId": user_id, "online": online, "lastSeenAt": optional_time(last_seen_at)}
