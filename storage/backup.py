"""All rows in one file, for either database: a gzipped tar of what it is, a file of JSON lines for each table, and media.

What is written is one moment of the database, read beside a running server. It is read into an empty database, of its
own kind or of the other, whose schema is made first as it was when the backup was made, and brought to the newest after.
"""

import asyncio
import base64
import contextlib
import filecmp
import io
import json
import os
import secrets
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import orjson
from sqlalchemy import Connection, LargeBinary, MetaData, Row, Table, create_engine, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from storage import migrations
from storage.database import sqlite_path
from storage.epoch import PUT, fresh
from storage.files import sync
from storage.models import calls, deliveries, metadata, outbox
from storage.types import now

FORMAT = 1
RESTORED = "restored from a backup"
ABOUT, SECRET, ROWS, MEDIA = "backup.json", "secret", "rows/", "media/"
ROWS_AT_ONCE = 1000
# What is true of a running installation alone.
LEFT_OUT = {"nodes", "alembic_version"}
Work = Callable[[Connection], dict[str, int]]


class NoBackup(Exception):
    """The file is none, or there is no place to bring it back to; the text says which"""


# Making one


def make(url: str, path: Path, *, media: Path | None, secret: Path | None) -> dict[str, int]:
    """Write everything into ``path``; how many rows of each table, and how many files.

    Files are looked for before the database and after it, so that none is missed that a row names.
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with (
            open(draft, "xb", opener=private) as file,
            tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive,
        ):
            kept = add_files(archive, media, set())
            counts = on_connection(url, lambda connection: write_rows(connection, archive), writes=False)
            kept |= add_files(archive, media, kept)
            if secret is not None and secret.exists():
                archive.add(secret, SECRET)
        sync(draft)
        # Never over one that is there.
        os.link(draft, path)
        sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)
    return {**counts, "files": len(kept)}


def private(path: str, flags: int) -> int:
    """For open(): only its owner may read what holds secrets."""
    return os.open(path, flags, 0o600)


def add_files(archive: tarfile.TarFile, folder: Path | None, known: set[str]) -> set[str]:
    """Those that are not known yet; one that is removed meanwhile is of nobody any more."""
    if folder is None or not folder.exists():
        return set()
    new = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()} - known
    for name in sorted(new):
        with contextlib.suppress(FileNotFoundError):
            archive.add(folder / name, MEDIA + name)
    return new


def write_rows(connection: Connection, archive: tarfile.TarFile) -> dict[str, int]:
    """All tables of one moment, each after those that its rows point to."""
    migrations.require_newest(connection)
    counts = {}
    for table in metadata.sorted_tables:
        name = str(table.name)
        if name not in LEFT_OUT:
            with tempfile.TemporaryFile() as lines:
                rows = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(
                    select(table).order_by(*table.primary_key)
                )
                counts[name] = sum(lines.write(written(row)) > 0 for row in rows)
                add(archive, f"{ROWS}{name}", lines)
    about = {"format": FORMAT, "schema": migrations.newest(), "rows": counts}
    add(archive, ABOUT, io.BytesIO(orjson.dumps(about)))
    return counts


def add(archive: tarfile.TarFile, name: str, content: IO[bytes]) -> None:
    info = tarfile.TarInfo(name)
    info.size = content.seek(0, io.SEEK_END)
    info.mode = 0o600
    content.seek(0)
    archive.addfile(info, content)


def written(row: Row[Any]) -> bytes:
    def plain(value: Any) -> str:
        return base64.b64encode(value).decode()

    return orjson.dumps({str(name): value for name, value in row._mapping.items()}, default=plain) + b"\n"


# Bringing it back


def restore(url: str, path: Path, *, media: Path | None, secret: Path | None) -> dict[str, int]:
    """Read ``path`` into an empty database; how many rows of each table, and how many files.

    A new epoch begins: clients that have seen more than the backup holds reload. Raises NoBackup.
    """
    try:
        with tarfile.open(path) as archive:
            about = json.load(part(archive, ABOUT))
            if not (isinstance(about, dict) and isinstance(about["schema"], str) and isinstance(about["rows"], dict)):
                raise ValueError(f"{ABOUT} is malformed")
            if about["format"] != FORMAT or about["schema"] not in migrations.known():
                raise NoBackup(f"{path} was created by a newer version: schema {about['schema']}")
            names = [each for each in archive.getnames() if each.startswith(MEDIA)]
            if names and media is None:
                raise NoBackup(f"The backup holds {len(names)} files: restore with BELLWIRE_MEDIA_URL naming a folder")
            on_connection(url, require_empty, writes=True)
            # The rows last: until they are there, all of it may be done again.
            for name in names:
                assert media is not None
                bring(archive, name, media, name.removeprefix(MEDIA))
            if secret is not None and SECRET in archive.getnames():
                bring(archive, SECRET, secret.parent, secret.name)
            counts = on_connection(url, lambda connection: read_rows(connection, archive, about), writes=True)
    except (tarfile.TarError, KeyError, ValueError, TypeError, OverflowError, EOFError, RecursionError) as error:
        raise NoBackup(f"{path} is not a complete backup: {error}") from None
    except SQLAlchemyError as error:
        raise NoBackup(f"{path} cannot be restored into the database: {type(error).__name__}") from None
    return {**counts, "files": len(names)}


def part(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    if found is None:
        raise KeyError(name)
    return found


def bring(archive: tarfile.TarFile, name: str, folder: Path, place: str) -> None:
    """Write a file, whole or not at all; one that is there already must be the same. Raises NoBackup."""
    target = (folder / place).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise ValueError(f"{name} points outside its folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
    try:
        with open(draft, "xb", opener=private) as file, part(archive, name) as content:
            shutil.copyfileobj(content, file)
        if not target.exists():
            os.replace(draft, target)
        elif not filecmp.cmp(draft, target, shallow=False):
            raise NoBackup(f"{target} already exists with different content")
    finally:
        draft.unlink(missing_ok=True)


def require_empty(connection: Connection) -> dict[str, int]:
    if inspect(connection).get_table_names():
        raise NoBackup("The database is not empty: restore into a new one")
    return {}


def read_rows(connection: Connection, archive: tarfile.TarFile, about: dict[str, Any]) -> dict[str, int]:
    """In one transaction: all of it is there after, or nothing."""
    require_empty(connection)
    migrations.upgrade(connection, about["schema"])
    there = MetaData()
    there.reflect(connection)
    counts = {}
    for table in there.sorted_tables:
        if table.name in about["rows"]:
            # What was made by the schema itself is in the backup too.
            connection.execute(table.delete())
            counts[str(table.name)] = sum(insert(connection, table, rows) for rows in pages(archive, table))
            go_on(connection, table)
    if counts != about["rows"]:
        raise ValueError("rows are missing")
    migrations.upgrade(connection)
    connection.execute(PUT, {"name": "epoch", "value": fresh()})
    forget_promises(connection)
    return counts


def forget_promises(connection: Connection) -> None:
    """Pushes and webhook calls that were pending in the backup were sent since, or are old: they are not sent."""
    moment = now()
    over = {"reason": RESTORED, "settled_at": moment}
    connection.execute(outbox.delete())
    connection.execute(deliveries.update().where(deliveries.c.state == "waiting").values(state="skipped", **over))
    connection.execute(calls.update().where(calls.c.state == "waiting").values(state="dead", **over))


def pages(archive: tarfile.TarFile, table: Table) -> Iterator[list[dict[str, Any]]]:
    binary = [column.name for column in table.columns if isinstance(column.type, LargeBinary)]
    page: list[dict[str, Any]] = []
    for line in part(archive, f"{ROWS}{table.name}"):
        row = orjson.loads(line)
        if not isinstance(row, dict):
            raise ValueError(f"a row of {table.name} is not an object")
        page.append(row | {name: base64.b64decode(row[name]) for name in binary if row[name] is not None})
        if len(page) == ROWS_AT_ONCE:
            yield page
            page = []
    if page:
        yield page


def insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> int:
    connection.execute(table.insert(), rows)
    return len(rows)


def go_on(connection: Connection, table: Table) -> None:
    """PostgreSQL counts on where the rows end; SQLite does so by itself."""
    if connection.dialect.name != "postgresql":
        return
    for column in table.primary_key:
        sequence = connection.execute(
            text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": table.name, "column": column.name}
        ).scalar()
        if sequence:
            last = f"SELECT setval(:sequence, greatest((SELECT max({column.name}) FROM {table.name}), 1))"
            connection.execute(text(last), {"sequence": sequence})


def on_connection(url: str, work: Work, *, writes: bool) -> dict[str, int]:
    """``work`` in one transaction, that sees one moment."""
    path = sqlite_path(url)
    if path is None:
        return asyncio.run(on_postgres(url, work))
    if not writes and not path.exists():
        raise NoBackup(f"There is no database at {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    here = create_engine(f"sqlite:///{path}", hide_parameters=True)
    with here.begin() as connection:
        # The driver begins a transaction only where something is written.
        connection.exec_driver_sql("BEGIN")
        counts = work(connection)
    here.dispose()
    return counts


async def on_postgres(url: str, work: Work) -> dict[str, int]:
    engine = create_async_engine(url, isolation_level="REPEATABLE READ", hide_parameters=True)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()
