"""The servers of a benchmark, each as a process of its own on an empty folder."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from tests.load.target import Peer, Target
from tests.support.guard import HANG_SECONDS

PEERS = Path("tests/load/peers")


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bellwire-load-") as name:
        yield Path(name)


@contextlib.asynccontextmanager
async def running(*command: str, **environment: str) -> AsyncIterator[tuple[str, int]]:
    """The first line that a process prints, and its number; killed in the end."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    try:
        assert process.stdout
        line = (await asyncio.wait_for(process.stdout.readline(), HANG_SECONDS)).decode().strip()
        if not line:
            raise SystemExit(f"{' '.join(command)} does not start")
        drain = asyncio.create_task(process.stdout.read())
        yield line, process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    await drain


@contextlib.asynccontextmanager
async def product(*permissions: str, **settings: str) -> AsyncIterator[Target]:
    """Its token is of a user with these permissions, else ``users.manage``."""
    with folder() as place:
        environment = {
            "BELLWIRE_DATA_DIR": str(place),
            "BELLWIRE_PORT": "0",
            "BELLWIRE_LOG_LEVEL": "WARNING",
            # Limits count, and are not reached: one client sends what many people would.
            "BELLWIRE_MAX_SENDS_PER_SECOND": "1000000",
            "BELLWIRE_MAX_SENDS_AT_ONCE": "1000000",
            "BELLWIRE_MAX_DELIVERIES_PER_SECOND": "1000000000",
            "BELLWIRE_MAX_UNITS_PER_SECOND": "1000000000",
            "BELLWIRE_MAX_UNITS_AT_ONCE": "1000000000",
            **settings,
        }
        async with running(sys.executable, "run.py", **environment) as (line, pid):
            run = [sys.executable, "run.py"]
            add = [*run, "user", "add", "load@example.org"]
            for each in permissions or ("users.manage",):
                add += ["--permission", each]
            for command in (add, token := [*run, "token", "--user", "load@example.org"]):
                answer = await asyncio.to_thread(
                    subprocess.run,
                    command,
                    env={**os.environ, **environment},
                    check=True,
                    capture_output=True,
                    text=True,
                )
            assert command is token
            yield Target(line.split()[3], answer.stdout.strip(), pid)


@contextlib.asynccontextmanager
async def node(*words: str) -> AsyncIterator[Peer]:
    binary = shutil.which("node") or str(Path(".venv/bin/node").absolute())
    with folder() as place:
        async with running(binary, str(PEERS / "server.mjs"), str(place), *words) as (port, pid):
            yield Peer(" ".join(["node", *words]), f"http://127.0.0.1:{port}", pid)


@contextlib.asynccontextmanager
async def documented() -> AsyncIterator[Peer]:
    with folder() as place:
        async with running(sys.executable, str(PEERS / "documented.py"), str(place)) as (port, pid):
            yield Peer("python", f"http://127.0.0.1:{port}", pid)


def floor(count: int, rounds: int, size: int) -> float:
    """µs of CPU of one bare send(2)."""
    with folder() as place:
        binary = str(place / "floor")
        subprocess.run(["cc", "-O2", str(PEERS / "floor.c"), "-o", binary], check=True)
        run = subprocess.run([binary, str(count), str(rounds), str(size)], check=True, capture_output=True, text=True)
    return float(run.stdout)
