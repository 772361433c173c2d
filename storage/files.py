"""Where media lies: a folder, or an S3-compatible store by URL (``s3://bucket/prefix``, credentials from the environment).

Keys are ours and random; nothing that a client says is part of one. What was put is on the disk, not on its way there.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from storage.errors import Unavailable

CHUNK = 256 * 1024
TIMEOUTS: dict[str, Any] = {
    "client_options": {"connect_timeout": "3s", "timeout": "30s", "allow_http": True},
    "retry_config": {"max_retries": 3, "retry_timeout": timedelta(seconds=20)},
}


class Files:
    """``url`` is a folder's path, or a URL that obstore knows. Everything raises Unavailable if the store can't be used."""

    def __init__(self, url: str) -> None:
        self.folder = None if "://" in url else Path(url).absolute()
        self.store: Any = from_url(url, **TIMEOUTS) if self.folder is None else LocalStore(self.folder, mkdir=True)

    async def put(self, key: str, path: Path) -> None:
        """Keep a file under a key; the file itself may be gone after."""
        try:
            with failing():
                if self.folder is None:
                    await obstore.put_async(self.store, key, path)
                else:
                    await asyncio.to_thread(move, path, self.folder / key)
        except FileNotFoundError as error:
            raise Unavailable("The file storage does not exist") from error

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from ``start`` up to and without ``end``, in pieces. Raises FileNotFoundError."""
        while start < end:
            stop = min(start + CHUNK, end)
            with failing():
                piece = await obstore.get_range_async(self.store, key, start=start, end=stop)
            yield bytes(piece)
            start = stop

    async def size(self, key: str) -> int:
        """Raises FileNotFoundError."""
        with failing():
            return int((await obstore.head_async(self.store, key))["size"])

    async def delete(self, key: str) -> None:
        """Gone, if it was there."""
        with contextlib.suppress(FileNotFoundError), failing():
            await obstore.delete_async(self.store, key)


@contextlib.contextmanager
def failing() -> Iterator[None]:
    """A store's errors as ours."""
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise FileNotFoundError(str(error)) from None
    except (BaseError, OSError) as error:
        raise Unavailable("The file storage is unavailable; try again later") from error


def move(source: Path, target: Path) -> None:
    """Into its place in one step, and onto the disk before that. What a crash leaves is beside ``source``."""
    target.parent.mkdir(exist_ok=True)
    if source.stat().st_dev != target.parent.stat().st_dev:
        copy = target.with_name(f"{target.name}.part")
        shutil.copyfile(source, copy)
        source = copy
    sync(source)
    os.replace(source, target)
    sync(target.parent)


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
