"""When users posted last, kept only in chats in slow mode."""

from sqlalchemy import delete

from storage.models import last_posts
from storage.prepared import Bulk, Update
from storage.transaction import Tx

ADD = Bulk(last_posts, ("chat_pk", "user_pk", "at"))
SET_AT = Update(last_posts, ("chat_pk", "user_pk"), ("at",))


def put(tx: Tx, chat_pk: int, user_pk: int, before: int | None) -> None:
    """The user posts now; ``before`` is when they did last, if that is kept. The transaction holds the chat."""
    if before is None:
        tx.later(ADD, (chat_pk, user_pk, tx.now))
    else:
        tx.update_later(SET_AT, (chat_pk, user_pk), (tx.now,))
    tx.set_pending(("last post", chat_pk, user_pk), tx.now)


def pending(tx: Tx, chat_pk: int, user_pk: int, stored: int | None) -> int | None:
    """What a transaction knows of it beside what is stored."""
    return tx.pending(("last post", chat_pk, user_pk), stored)


def forget(tx: Tx, chat_pk: int) -> None:
    """All of a chat."""
    tx.execute(delete(last_posts).where(last_posts.c.chat_pk == chat_pk))
