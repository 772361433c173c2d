"""This process among others: it enters a table of all nodes, and does not start where several could not work together."""

import asyncio
import contextlib
import hashlib
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from functools import partial

from storage import nodes
from storage.database import Database
from storage.errors import Problem, Unavailable
from storage.nodes import Node, Seen
from storage.transaction import Command, Tx

logger = logging.getLogger("bellwire")

HEARTBEAT_SECONDS = 5.0
CHECK_SECONDS = 1.0
# Characters of a digest where there are several.
DIGEST = 16


class Nodes:
    """PostgreSQL only. Call ``start`` before serving, ``beat`` every ``HEARTBEAT_SECONDS``, ``stop`` at the end."""

    def __init__(self, database: Database, id: str, *, redis: bool, secrets: Sequence[str]) -> None:
        self.database = database
        self.node = Node(id, here_now(), redis, digests(secrets))

    async def start(self) -> None:
        """Waits for the entry of one that may have crashed. Raises Problem where others are alive and it can't join them."""
        waited = 0.0
        while problem := await self.database.write(Command(self._enter, keys=["nodes"])):
            if waited == 0:
                logger.warning("%s Waiting until its entry expires.", problem)
            if waited > nodes.TTL_SECONDS + CHECK_SECONDS:
                raise Problem(problem)
            await asyncio.sleep(CHECK_SECONDS)
            waited += CHECK_SECONDS

    def _enter(self, tx: Tx) -> str | None:
        """Enter the table, or say why not."""
        for other in nodes.others(tx.connection(), self.node.id):
            if is_gone(other):
                continue
            if not (self.node.redis and other.redis):
                return (
                    f"Another process ({other.place}) serves this database, and one of the two has no Redis: set "
                    "BELLWIRE_REDIS_URL=redis://… for all of them."
                )
            if not understand(self.node.secret, other.secret):
                return (
                    f"Another process ({other.place}) signs tokens with another secret: set the same "
                    "BELLWIRE_JWT_SECRET for all of them."
                )
        nodes.beat(tx, self.node, {})
        return None

    async def beat(self, figures: Mapping[str, float]) -> None:
        """``figures`` are this node's, shown at ``/api/v1/admin/nodes``."""
        await self.database.write(Command(partial(nodes.beat, node=self.node, figures=figures)))

    async def seen(self) -> list[Seen]:
        """All that are alive, as they were at their last beat."""
        return await self.database.read(nodes.seen)

    async def stop(self) -> None:
        with contextlib.suppress(Unavailable):
            await self.database.write(Command(partial(nodes.leave, id=self.node.id)))


def digests(secrets: Sequence[str]) -> str:
    """Fingerprints that show whether another process has the same secrets; that of the signing one is first."""
    whole = [hashlib.sha256(f"node {each}".encode()).hexdigest() for each in secrets]
    return whole[0] if len(whole) == 1 else " ".join(each[:DIGEST] for each in whole)


def understand(one: str, other: str) -> bool:
    """Whether each of two processes takes what the other signs."""
    first, second = ([each[:DIGEST] for each in digests.split()] for digests in (one, other))
    return first[0] in second and second[0] in first


def here() -> str:
    """This host, and where on it process ids mean the same: two containers may have one name, and each a process 1."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def here_now() -> str:
    """This process, among all."""
    return f"{here()} {os.getpid()}"


def is_gone(node: Node) -> bool:
    """Whether it ran on this host, and does not any more."""
    place, _, process = node.place.rpartition(" ")
    if place != here():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(process) == os.getpid()
