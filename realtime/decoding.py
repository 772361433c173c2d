"""What files are, found out a few at a time: each in a process of its own, with bounds on memory, time and what it writes.

A bomb or a broken file costs that process, never the server. Names and headers that came with a file count for nothing.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from realtime.inspection import BROKEN, REFUSED, Found
from realtime.limits import Limits
from realtime.rates import Buckets
from realtime.turns import Turns
from storage.errors import Invalid, Unsupported

MEMORY = 1 << 30
CPU_SECONDS = 10
PATIENCE = 20.0
AT_ONCE = 2


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
        self.turns = Turns(AT_ONCE, per_key=limits.uploads_at_once, waiting=limits.decodings_waiting)
        self.budget = Buckets(
            limits.decoder_seconds_per_minute / 60, limits.decoder_seconds_at_once, "seconds of decoding"
        )

    def require_budget(self, user_pk: int) -> None:
        """Raises TooMany while what the user's files took exceeds what they may take."""
        self.budget.take(user_pk, 0)

    async def look(self, path: Path, thumbnail: Path, *, user_pk: int, tenant_pk: int) -> Found:
        """Writes a WebP picture of it to ``thumbnail`` where it can be shown.

        Raises Unsupported for markup, Invalid for what is broken, or takes too much memory or time, TooMany where the
        user's files took too much time before, Unavailable where too many files wait.
        """
        async with self.turns.turn(user_pk, group=tenant_pk):
            self.require_budget(user_pk)
            thumbnail.touch(mode=0o600)
            code, said = await self._run(path, thumbnail)
            # A process that was stopped has said nothing.
            result: dict[str, Any] = json.loads(said) if said else {"seconds": self.seconds}
            self.budget.charge(user_pk, min(result["seconds"], self.seconds))
        if code == 0:
            return Found(**result["found"])
        if code == REFUSED:
            raise Unsupported("Markup is not taken")
        if code == BROKEN:
            raise Invalid.field("file", "is broken: it can't be decoded")
        if code is None:
            raise Invalid.field("file", "takes too long to look into")
        raise Invalid.field("file", "takes too much memory or time to be decoded")

    async def _run(self, path: Path, thumbnail: Path) -> tuple[int | None, bytes]:
        """The exit status, None after too long, and what the process wrote."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "realtime.inspection", str(path.absolute()), str(thumbnail.absolute()),
            str(self.memory), str(self.seconds),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=Path(__file__).parent.parent,
            env=self.environment,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE):
                output, _ = await process.communicate()
        except TimeoutError:
            return None, b""
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode, output
