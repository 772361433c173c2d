"""The events that show reactions to messages: whole states, each in the newest event alone."""

from collections.abc import Sequence
from dataclasses import replace

from realtime.schema import message_documents
from storage import log, reactions
from storage.messages import Message
from storage.transaction import Tx


def show(tx: Tx, items: Sequence[Message], *, restricted: bool) -> None:
    """Append the newest reactions of messages of a chat, in place of what events before showed of them.

    Where ``restricted``, a message that is older than a member's joining has an event of its own: the member may not see it,
    or not any more when the chat changes.
    """
    chat_pk, chat_id = items[0].chat_pk, items[0].chat_id
    hide(tx, items)
    old = reactions.newest_join(tx, chat_pk) if restricted else 0
    together = [each for each in items if each.seq > old]
    groups = [[each] for each in items if each.seq <= old] + ([together] if together else [])
    for group in groups:
        document = {
            "chatId": chat_id,
            "items": [{"messageId": each.id, "reactions": message_documents.reactions(each)} for each in group],
        }
        about = group[0].seq if group is not together else None
        event = log.append(tx, chat_pk, "message:reactions", document, about=about)
        tx.set_pending(("reaction event", chat_pk, event.seq), document)
        for each in group:
            reactions.keep(tx, replace(each, reaction_seq=event.seq, reactions_due=None))


def hide(tx: Tx, items: Sequence[Message]) -> None:
    """Take messages out of the events that show their reactions, so that a replay shows the newest ones, or none."""
    chat_pk = items[0].chat_pk
    shown = {each.reaction_seq for each in items if each.reaction_seq is not None}
    ids = {each.id for each in items}
    for seq, document in reactions.payloads(tx, chat_pk, shown).items() if shown else ():
        left = {**document, "items": [each for each in document["items"] if each["messageId"] not in ids]}
        log.rewrite(tx, chat_pk, [seq], left)
        tx.set_pending(("reaction event", chat_pk, seq), left)
