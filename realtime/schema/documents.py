"""What is kept, as the wire shows it: one function a document, used by REST, by acks and by events alike."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from realtime.schema import events, shapes
from realtime.schema.bodies import SendBroadcast
from storage import (
    accounts,
    audit,
    broadcasts,
    chat,
    credits,
    deliveries,
    devices,
    logins,
    media,
    messages,
    nodes,
    notifications,
    sanctions,
    streams,
    templates,
    webhooks,
)
from storage.errors import FOREVER
from storage.pins import ShownPin
from storage.reactions import OwnReaction, Reactor
from storage.thread_list import ThreadState
from storage.threads import summary_of
from storage.types import iso_time


def optional_time(at: int | None) -> str | None:
    return None if at is None else iso_time(at)


def message(item: messages.Message) -> shapes.MessageDocument:
    document: shapes.MessageDocument = {
        "_id": item.id,
        "chatId": item.chat_id,
        "senderId": item.sender_id,
        "type": item.type,
        "content": item.content,
        "media": cast("shapes.MediaDocument | None", item.media),
        "creditTransfer": None if item.transfer is None else transfer(item.transfer),
        "readBy": list(item.read_by),
        "createdAt": iso_time(item.created_at),
        "updatedAt": iso_time(item.updated_at),
        "seq": item.seq,
        "readCount": item.read_count,
    }
    if item.reply_to is not None:
        document["replyTo"] = item.reply_to
    if item.metadata is not None:
        document["metadata"] = dict(item.metadata)
    if item.deleted_at is not None:
        document["deletedAt"] = iso_time(item.deleted_at)
    if not item.is_plain:
        add_extra(document, item)
    if item.reactions:
        document["reactions"] = reactions(item)
    if item.thread is not None:
        document["thread"] = thread(item)
    return document


def add_extra(document: shapes.MessageDocument, item: messages.Message) -> None:
    """What most messages do not have."""
    if item.thread_id is not None:
        document["threadId"] = item.thread_id
        if item.in_chat:
            document["alsoInChat"] = True
    if item.mentions:
        document["mentions"] = [id for _, id in item.mentions]
    if item.mention_all is not None:
        document["mentionAll"] = True
    if item.forwarded and item.deleted_at is None:
        document["forwarded"] = True


def in_event(item: messages.Message) -> shapes.MessageDocument:
    """As ``message:new``, ``message:updated`` and ``message:deleted`` have it: reactions and a thread's summary come in
    events of their own.
    """
    return message(replace(item, reactions=(), thread=None))


def thread(root: messages.Message) -> shapes.ThreadSummary:
    summary = summary_of(root)
    return {
        "replyCount": summary.reply_count,
        "lastSeq": summary.last_seq,
        "lastAt": optional_time(summary.last_at),
        "participants": list(summary.participants),
    }


def followed_thread(root: messages.Message, state: ThreadState, *, visible: bool) -> shapes.ThreadDocument:
    """A thread as one member has it, who may not see a root that is older than their joining."""
    return {
        "chatId": root.chat_id,
        "threadId": root.id,
        "root": message(root) if visible else None,
        "thread": thread(root),
        "following": state.follows,
        "readSeq": state.read_seq,
        "unreadCount": state.unread,
    }


def reactions(item: messages.Message) -> list[shapes.ReactionDocument]:
    return [{"key": each["key"], "count": each["count"], "userIds": each["userIds"]} for each in item.reactions]


def reactor(item: Reactor) -> shapes.ReactorDocument:
    return {"userId": item.user_id, "name": item.name, "key": item.key, "createdAt": iso_time(item.created_at)}


def own_reaction(item: OwnReaction) -> dict[str, str]:
    return {"messageId": item.message_id, "key": item.key, "createdAt": iso_time(item.created_at)}


def pin_state(message_id: str, until: int | None) -> shapes.PinnedDocument:
    return {"messageId": message_id, "until": optional_time(until)}


def pinned_message(item: ShownPin, content: messages.Message) -> shapes.PinDocument:
    return {
        "message": message(content),
        "userId": item.user_id,
        "createdAt": iso_time(item.pin.created_at),
        "until": optional_time(item.pin.until),
    }


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


def node(item: nodes.Seen) -> shapes.NodeDocument:
    host, *_, process = item.place.split(" ")
    return {
        "id": item.id,
        "place": f"{host} {process}",
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


def media_of(item: media.Media, public_url: str) -> shapes.MediaDocument:
    url = f"{public_url}/api/v2/media/{item.id}"
    return {
        "id": item.id,
        "url": url,
        "type": item.kind,
        "name": item.name,
        "size": item.size,
        "duration": item.duration,
        "width": item.width,
        "height": item.height,
        "thumbnail_url": f"{url}/thumbnail" if item.thumbnail else None,
    }


def transfer(item: Mapping[str, Any]) -> shapes.TransferDocument:
    document: shapes.TransferDocument = {
        "amount": item["amount"],
        "recipientId": item["recipientId"],
        "senderId": item["senderId"],
    }
    if item.get("reversal"):
        document["reversal"] = True
    return document


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
) -> shapes.ChatDocument:
    """A chat as one member sees it, or a viewer."""
    document: shapes.ChatDocument = {
        "_id": item.id,
        "type": item.type,
        "name": item.name,
        "historyVisible": item.history_visible,
        "members": [member(each) for each in members],
        "memberCount": item.member_count,
        "lastMessage": None if last is None else message(last),
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
    return document


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
