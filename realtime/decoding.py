"""What files are, found out a few at a time: each in a process of its own, with bounds on memory, time and what it writes.

A bomb or a broken file costs that process, never the server. Names and headers that came with a file count for nothing.
"""

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from weakref import WeakValueDictionary

from pydantic import TypeAdapter, ValidationError

from realtime.inspection import BROKEN, KINDS, REFUSED, Found
from realtime.schema.limits import Limits
from realtime.support.buckets import Buckets
from realtime.support.turns import Turns
from storage.errors import Invalid, Unavailable, Unsupported

MEMORY = 1 << 30
CPU_SECONDS = 10
DECODE_SECONDS = 20.0
DECODERS_AT_ONCE = 2
LONGEST_OUTPUT = 4096
FOUND = TypeAdapter(Found)


class Decoder:
    """Decodes a few files at a time, in turn for each tenant and user.

    Each may use ``memory`` bytes and ``seconds`` of a core. The processes get ``environment`` and nothing of the server's
    own, in which there are secrets.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        memory: int = MEMORY,
        seconds: int = CPU_SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.memory = memory
        self.seconds = seconds
        self.environment = dict(environment or {})
        self.turns = Turns(DECODERS_AT_ONCE, per_key=limits.uploads_at_once, waiting=limits.decodings_waiting)
        self.budget = Buckets(
            limits.decoder_seconds_per_minute,
            limits.decoder_seconds_at_once,
            "seconds of decoding",
            period="minute",
        )
        self.own: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    def require_budget(self, user_pk: int) -> None:
        """Raises TooMany while what the user's files took exceeds what they may take."""
        self.budget.require(user_pk)

    async def look(self, path: Path, thumbnail: Path, *, user_pk: int, tenant_pk: int, square: bool = False) -> Found:
        """Writes a WebP picture of it to ``thumbnail`` where it can be shown; with ``square`` its middle, 256 by 256.

        Raises Unsupported for markup, Invalid for what is broken, or takes too much memory or time, TooMany where the
        user's files took too much time before, Unavailable where too many files wait or the machine is too busy.
        """
        # One of a user at a time: two long ones would keep everybody else waiting.
        async with self.own.setdefault(user_pk, asyncio.Lock()), self.turns.turn(user_pk, group=tenant_pk):
            self.require_budget(user_pk)
            thumbnail.touch(mode=0o600)
            before = [identity(path), identity(thumbnail)]
            code, output, spent = await self._run(path, thumbnail, square)
            self.budget.charge(user_pk, spent)
            if [identity(path), identity(thumbnail)] != before:
                # A decoder without a sandbox was taken over, and put another file in its place.
                raise Invalid.field("file", "cannot be decoded: the file is corrupt")
        if code == 0 and (found := read(output)):
            return found
        if code == REFUSED:
            raise Unsupported("File type not allowed: HTML, SVG and other markup")
        if code in (0, BROKEN):
            raise Invalid.field("file", "cannot be decoded: the file is corrupt")
        if code is None and spent < self.seconds / 2:
            raise Unavailable("Server overloaded: files cannot be decoded now; try again later")
        raise Invalid.field("file", "needs too much memory or time to decode")

    async def _run(self, path: Path, thumbnail: Path, square: bool) -> tuple[int | None, bytes, float]:
        """The exit status, None after too long, what the process wrote, and how many seconds of a core it took."""
        # Before it is started: on a busy core it may have run to its end when we come back.
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "realtime.inspection", str(path.absolute()), str(thumbnail.absolute()),
            str(self.memory), str(self.seconds), *(["square"] if square else []),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            cwd=Path(__file__).parent.parent, env=self.environment,
        )  # fmt: skip
        assert process.stdin
        assert process.stdout
        output, spent = b"", 0.0
        try:
            async with asyncio.timeout(DECODE_SECONDS):
                output = await process.stdout.read(LONGEST_OUTPUT)
                # It waits for us before it ends, so that its clock can be read; of one that was stopped we know less.
                spent = cpu_seconds(process.pid) if output else time.monotonic() - began
                process.stdin.close()
                code: int | None = await process.wait()
        except TimeoutError:
            code, spent = None, spent or cpu_seconds(process.pid)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return code, output, min(spent, float(self.seconds))


def read(output: bytes) -> Found | None:
    """What a process has found; it may have been taken over by the file, and write anything."""
    try:
        found = FOUND.validate_json(output, strict=True)
    except ValidationError:
        return None
    return found if found.kind in KINDS else None


def identity(path: Path) -> tuple[int, int, int] | None:
    """Which file is at a path, and how many names it has."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_nlink


def cpu_seconds(pid: int) -> float:
    """Of a process that has not been waited for, by the kernel's clock (clock_getcpuclockid(3))."""
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0
