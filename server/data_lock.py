"""The lock of the data folder: one process at a time opens the SQLite file for writing.

A server writes its address into the lock file, so that commands go to it; a second server gives up.
"""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from server.settings import Settings
from storage.errors import Problem

LOCK_TRIES, LOCK_PAUSE_SECONDS = 100, 0.1


class Busy(Exception):
    """Another process holds the database and does not answer"""


def lock_path(settings: Settings) -> Path:
    return settings.data_dir / "lock"


@contextlib.contextmanager
def holding(settings: Settings) -> Iterator[IO[str] | None]:
    """Hold the data folder's lock; None if a server does, whose address is in it. Another command is waited for."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with open(lock_path(settings), "a+") as file:
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if lock_path(settings).read_text().strip():
                    yield None
                    return
                time.sleep(LOCK_PAUSE_SECONDS)
            else:
                # A server that was killed left its address.
                write_address(file, "")
                yield file
                return
        raise Busy(f"Another process holds {settings.data_dir}")


def write_address(file: IO[str], address: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(address)
    file.flush()


@contextlib.contextmanager
def held_by_server(settings: Settings) -> Iterator[IO[str] | None]:
    """The lock for a server, None on PostgreSQL, where there may be several.

    Raises Problem where another server has it, Busy where a command has it for long.
    """
    if not settings.embedded:
        yield None
        return
    with holding(settings) as lock:
        if lock is None:
            address = lock_path(settings).read_text().strip()
            raise Problem(f"Another server is using the data directory {settings.data_dir}, at {address}")
        try:
            yield lock
        finally:
            write_address(lock, "")


@contextlib.contextmanager
def held_by_command(settings: Settings, refusal: Exception) -> Iterator[None]:
    """The lock for a command that opens the database itself; raises ``refusal`` where a server has it."""
    if not settings.embedded:
        yield
        return
    with holding(settings) as lock:
        if lock is None:
            raise refusal
        yield
