"""What an app asks for when it is opened, of a user with many chats that are full of unread messages."""

import time
from typing import Any

from tests.load.target import Target, User
from tests.support.postgres import connect

CHATS, UNREAD, TIMES = 50, 1000, 20
# Messages of another member in each chat that this user is in.
FILL = """
WITH mine AS (
  SELECT m.chat_pk, m.user_pk, o.user_pk AS other_pk, c.head FROM members m JOIN users u ON u.pk = m.user_pk
  JOIN channels c ON c.pk = m.chat_pk JOIN members o ON o.chat_pk = m.chat_pk AND o.user_pk <> m.user_pk WHERE u.id = %(user)s
), written AS (
  INSERT INTO messages (chat_pk, seq, id, sender_pk, type, content, created_at, updated_at, ordinal)
  SELECT chat_pk, head + n, substr(md5(chat_pk || '-' || n), 1, 24), other_pk, 'text', repeat('x', 120), n, n, n
  FROM mine, generate_series(1, %(unread)s) AS n
)
UPDATE channels c SET head = c.head + %(unread)s, ordinal = %(unread)s FROM mine WHERE c.pk = mine.chat_pk
"""


async def prepared(target: Target, url: str) -> tuple[User, list[str]]:
    """A user, and their chats; ``url`` is that of the database."""
    ann, bob = await target.users(2)
    chats = await target.chats([[bob, ann] for _ in range(CHATS)])
    connection = await connect(url)
    await connection.execute(FILL, {"user": ann.id, "unread": UNREAD})
    await connection.execute("ANALYZE")
    await connection.close()
    return ann, chats


async def run(target: Target, url: str) -> dict[str, Any]:
    """The median in milliseconds of the chat list alone, and of all that an app asks for together, one after the other."""
    ann, chats = await prepared(target, url)
    paths = [
        "/api/v2/chats?limit=50", f"/api/v2/messages?chatId={chats[0]}", "/api/v1/notifications?limit=50",
        "/api/v1/notifications/unread-count",
    ]  # fmt: skip
    lists, starts = [], []
    async with target.http(ann) as http:
        for _ in range(TIMES):
            began = time.perf_counter()
            wire = await target.connect(ann, chats[0])
            for path in paths:
                asked = time.perf_counter()
                async with http.get(target.url + path) as response:
                    answer = await response.json()
                if path == paths[0]:
                    lists.append(time.perf_counter() - asked)
                    counts = {each["unreadCount"] for each in answer["items"]}
                    if len(answer["items"]) != CHATS or counts != {UNREAD}:
                        raise SystemExit(f"{path}: {counts}")
            starts.append(time.perf_counter() - began)
            wire.transport.abort()
            await wire.closed
    return {
        name: round(sorted(times)[TIMES // 2] * 1000, 1) for name, times in (("list_ms", lists), ("start_ms", starts))
    }
