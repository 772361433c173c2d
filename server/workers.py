"""Several processes on one port: the socket is opened here once, and whichever process is free takes the next connection.

One that ends is started again; where the first start fails, all end. Should this process be killed, the others notice it at
their standard input and close.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from pathlib import Path

from server.listening import listen
from server.settings import Settings

logger = logging.getLogger("bellwire")

RUN = Path(__file__).parent.parent / "run.py"
PAUSE, LONGEST_PAUSE = 0.1, 5.0
STEADY = 10.0
KILLED_AFTER = 30.0
# One that was only starting ends by the signal itself.
STOPPED = (0, -signal.SIGTERM, -signal.SIGINT)


class Workers:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stopping = asyncio.Event()
        self.processes: set[asyncio.subprocess.Process] = set()
        self.ready: list[str] = []
        self.failed = 0
        self.listening: socket.socket

    async def run(self) -> int:
        """Until a signal comes, or none of them can start; the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        with listen(self.settings.host, self.settings.port) as listening:
            listening.set_inheritable(True)
            self.listening = listening
            async with asyncio.TaskGroup() as group:
                for _ in range(self.settings.workers):
                    group.create_task(self._keep(listening.fileno()))
        return self.failed

    def _stop(self, number: signal.Signals) -> None:
        self.stopping.set()
        # After the workers have closed their copies, no process accepts.
        self.listening.close()
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, fd: int) -> None:
        pause = PAUSE
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                status, served = await self._one(fd)
            except OSError as error:
                logger.error("a worker could not be started: %s", error)
                status, served = 1, bool(self.ready)
            if self.stopping.is_set():
                if status not in STOPPED:
                    self.failed = self.failed or status
                return
            if not served and len(self.ready) < self.settings.workers:
                # It said why on standard error.
                self.failed = status or 1
                self._stop(signal.SIGTERM)
                return
            pause = PAUSE if time.monotonic() - began > STEADY else min(2 * pause, LONGEST_PAUSE)
            logger.error("a worker exited with status %d; starting another", status)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), pause)

    async def _one(self, fd: int) -> tuple[int, bool]:
        """The life of a process: its exit status, and whether it came to serve."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(RUN), "serve", "--fd", str(fd),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, pass_fds=[fd],
        )  # fmt: skip
        self.processes.add(process)
        if self.stopping.is_set():
            process.terminate()
        try:
            assert process.stdout
            line = (await process.stdout.readline()).decode()
            if line:
                self.ready.append(line)
                if len(self.ready) == self.settings.workers:
                    print(line, end="", flush=True)
            waiting, stopping = asyncio.create_task(process.wait()), asyncio.create_task(self.stopping.wait())
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            _, late = await asyncio.wait({waiting}, timeout=KILLED_AFTER)
            if late:
                process.kill()
            return await waiting, bool(line)
        finally:
            self.processes.discard(process)
