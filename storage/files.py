"""Where media lies: a folder, or an S3-compatible store by URL (``s3://bucket/prefix``, credentials from the environment).

Keys are ours and random; nothing that a client says is part of one.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

CHUNK = 256 * 1024


class Files:
    """``url`` is a folder's path, or a URL that obstore knows."""

    def __init__(self, url: str) -> None:
        self.store: ObjectStore = from_url(url) if "://" in url else LocalStore(prefix=Path(url).absolute(), mkdir=True)

    async def put(self, key: str, path: Path) -> None:
        """Keep the content of a file under a key. Large ones go up in parts."""
        await obstore.put_async(self.store, key, path)

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from ``start`` up to and without ``end``, in pieces. Raises FileNotFoundError."""
        while start < end:
            stop = min(start + CHUNK, end)
            try:
                piece = await obstore.get_range_async(self.store, key, start=start, end=stop)
            except (NotFoundError, FileNotFoundError):
                raise FileNotFoundError(key) from None
            yield bytes(piece)
            start = stop

    async def size(self, key: str) -> int:
        """Raises FileNotFoundError."""
        try:
            return int((await obstore.head_async(self.store, key))["size"])
        except (NotFoundError, FileNotFoundError):
            raise FileNotFoundError(key) from None

    async def delete(self, key: str) -> None:
        """Gone, if it was there."""
        try:
            await obstore.delete_async(self.store, key)
        except (NotFoundError, FileNotFoundError):
            return
