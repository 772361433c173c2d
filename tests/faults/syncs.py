"""Whether every commit group is on the disk before it is acknowledged: the kernel's calls are counted, by strace.

``python -m tests.faults.syncs --commits 1000``
"""

import argparse
import asyncio
import contextlib
import re
import signal
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.guard import HANG_SECONDS
from tests.support.process import ProcessUser, ServerProcess


async def commits(api: ProcessUser) -> int:
    found = re.search(r"^bellwire_commits_total (\S+)$", (await api.get("/metrics")).body.decode(), re.MULTILINE)
    assert found
    return int(float(found[1]))


async def run(*, wanted: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bellwire-syncs-") as folder:
        server = ServerProcess(Path(folder) / "data", max_sends_per_second=10**6)
        async with server, aiohttp.ClientSession() as session:
            ann = await server.user(session, "ann@example.org")
            chat = (await ann.post("/api/v2/chats", {"type": "group", "name": "x"})).json["_id"]
            trace = Path(folder) / "trace"
            tracer = await asyncio.create_subprocess_exec(
                "strace", "-f", "-e", "trace=fsync,fdatasync", "-o", str(trace), "-p", str(server.process.pid),
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert tracer.stderr
            await asyncio.wait_for(tracer.stderr.readline(), HANG_SECONDS)
            await asyncio.sleep(0.5)
            before = await commits(ann)

            async def send() -> None:
                while await commits(ann) - before < wanted:
                    for _ in range(20):
                        answer = await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "x"})
                        assert answer.status == 201

            await asyncio.gather(*(send() for _ in range(4)))
            made = await commits(ann) - before
            tracer.send_signal(signal.SIGINT)
            with contextlib.suppress(ProcessLookupError):
                await tracer.communicate()
            calls = len(re.findall(r"(?:fsync|fdatasync)\(\d+(?:\)\s+= 0| <unfinished)", trace.read_text()))
    return {"commits": made, "syncs": calls, "commits_without": max(0, made - calls)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=1000, dest="wanted")
    for name, figure in asyncio.run(run(**vars(parser.parse_args()))).items():
        print(f"{name:16}{figure}")
