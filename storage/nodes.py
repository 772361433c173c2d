"""The processes that serve: each says every few seconds that it is there."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, delete, insert, select, update

from storage.models import nodes
from storage.transaction import Tx, clock
from storage.types import SECOND

TTL_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a node said of itself last."""

    id: str
    place: str
    started_at: int
    seen_at: int
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Node:
    """``place`` is host and process id; ``secret`` a digest of what signs tokens; ``redis`` whether it has one."""

    id: str
    place: str
    redis: bool
    secret: str


def enter(tx: Tx, node: Node) -> None:
    """And forget those that are long gone."""
    tx.execute(delete(nodes).where(nodes.c.seen_at < tx.now - int(10 * TTL_SECONDS * SECOND)))
    values = {"id": node.id, "place": node.place, "redis": node.redis, "secret": node.secret}
    tx.execute(insert(nodes), {**values, "started_at": tx.now, "seen_at": tx.now})


def beat(tx: Tx, node: Node, figures: Mapping[str, float]) -> None:
    values = {"seen_at": tx.now, "figures": orjson.dumps(figures).decode()}
    if not tx.execute(update(nodes).where(nodes.c.id == node.id).values(**values)).rowcount:
        enter(tx, node)


def leave(tx: Tx, id: str) -> None:
    tx.execute(delete(nodes).where(nodes.c.id == id))


def seen(connection: Connection) -> list[Seen]:
    """Those that were there a moment ago, and have told of themselves."""
    fresh = nodes.c.seen_at > clock(connection) - int(TTL_SECONDS * SECOND), nodes.c.figures.is_not(None)
    columns = (nodes.c.id, nodes.c.place, nodes.c.started_at, nodes.c.seen_at, nodes.c.figures)
    rows = connection.execute(select(*columns).where(*fresh).order_by(nodes.c.started_at))
    return [Seen(*row[:-1], orjson.loads(row[-1])) for row in rows]


def others(connection: Connection, id: str) -> list[Node]:
    """Those that were there a moment ago."""
    fresh = nodes.c.seen_at > clock(connection) - int(TTL_SECONDS * SECOND)
    columns = (nodes.c.id, nodes.c.place, nodes.c.redis, nodes.c.secret)
    return [Node(*row) for row in connection.execute(select(*columns).where(fresh, nodes.c.id != id))]
