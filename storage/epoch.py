"""The epoch names the history that offsets belong to; a new one tells every client to reload.

On SQLite the file may be copied back to an earlier state, which no transaction notices. So each start writes a fresh mark
into the database and into a file beside it, and the count of commits goes into both: into the database with every batch,
into the file at most a second later. Where the marks differ, or the file has seen more commits than the database holds,
the database is not the one that was last written here, and the epoch is new.
"""

import contextlib
import json
import logging
import os
import secrets
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, text

from storage.fetch import fetch_one
from storage.models import facts
from storage.prepared import Prepared
from storage.transaction import Tx

logger = logging.getLogger("bellwire.storage")

READ = select(facts.c.name, facts.c.value)
CURRENT = Prepared(select(facts.c.value).where(facts.c.name == "epoch"))
COUNT = "UPDATE facts SET value = ? WHERE name = 'commits'"
PUT = text(
    "INSERT INTO facts (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
FILE_SECONDS = 1.0


def known(connection: Connection) -> dict[str, str]:
    """What the installation knows of itself, by name."""
    return {row.name: row.value for row in connection.execute(READ)}


def current(connection: Connection) -> str:
    """The epoch as the database holds it now."""
    return str(fetch_one(connection, CURRENT, {})[0][0])


def put(tx: Tx, name: str, value: str) -> None:
    tx.execute(PUT, {"name": name, "value": value})


def shared(tx: Tx, name: str, size: int = 32) -> str:
    """A random fact that all nodes have in common, in hexadecimal; made on first use."""
    found = known(tx.connection()).get(name)
    if found is None:
        found = secrets.token_hex(size)
        put(tx, name, found)
    return found


def fresh() -> str:
    return secrets.token_hex(8)


def renew(tx: Tx) -> str:
    """Begin a new history."""
    epoch = fresh()
    put(tx, "epoch", epoch)
    return epoch


def open_history(tx: Tx) -> str:
    """The epoch, made on first use."""
    return known(tx.connection()).get("epoch") or renew(tx)


class Marks:
    """The file beside a SQLite database: ``{"mark", "commits"}``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mark = secrets.token_hex(8)
        self.commits = 0
        self._written_at = 0.0

    def open_history(self, tx: Tx) -> str:
        """The epoch; a new one if the database is not the one last written here."""
        facts_now = known(tx.connection())
        self.commits = int(facts_now.get("commits", 0))
        found = self._found()
        same = found is not None and found["mark"] == facts_now.get("mark") and found["commits"] <= self.commits
        put(tx, "mark", self.mark)
        put(tx, "commits", str(self.commits))
        return facts_now["epoch"] if same else renew(tx)

    def _found(self) -> dict[str, Any] | None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(self.path.read_text())
            return {"mark": str(found["mark"]), "commits": int(found["commits"])}
        return None

    def count(self, bare: sqlite3.Connection) -> None:
        """Part of every batch: one more commit."""
        bare.execute(COUNT, [str(self.commits + 1)])

    def after_commit(self) -> None:
        """Bring the file up to what is committed, at most once a second."""
        self.commits += 1
        moment = time.monotonic()
        if moment - self._written_at >= FILE_SECONDS:
            self._written_at = moment
            self.write()

    def write(self) -> None:
        """What is committed stays committed, whatever becomes of the file: an old one only costs a new epoch."""
        draft = self.path.with_suffix(".mark.new")
        try:
            draft.write_text(json.dumps({"mark": self.mark, "commits": self.commits}))
            os.replace(draft, self.path)
        except OSError:
            logger.exception("could not write %s", self.path)
