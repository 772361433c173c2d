"""``run.py`` in processes of its own, without the two seconds of CPU that its imports take each time.

A parent process imports ``run`` once and forks for each start. What runs is the same code in a real process, with its own
environment, folder, descriptors and exit status.
"""

import asyncio
import atexit
import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

LARGEST_REQUEST_BYTES = 2**20
PIPE = -1


class Program:
    """A start of ``run.py``, with what the tests use of ``asyncio.subprocess.Process``."""

    # The process that forks; one for each process that runs tests.
    parent: "socket.socket | None" = None

    def __init__(self, pid: int, status: asyncio.StreamReader, ends: list[int | None]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        # Our ends of the pipes to standard input, output and error.
        self.ends = ends
        self._exited = asyncio.create_task(self._read_status(status))

    @classmethod
    async def start(
        cls, *arguments: str, env: Mapping[str, str], cwd: Path | None = None, stdin: int | None = None,
        stdout: int | None = None, stderr: int | None = None,
    ) -> "Program":  # fmt: skip
        """Descriptors as of ``subprocess``: a number, PIPE, or None for this process's own."""
        theirs: list[int] = []
        ours: list[int | None] = []
        for number, given in enumerate((stdin, stdout, stderr)):
            if given == PIPE:
                reading, writing = os.pipe()
                theirs.append(reading if number == 0 else writing)
                ours.append(writing if number == 0 else reading)
            else:
                theirs.append(os.dup(number if given is None else given))
                ours.append(None)
        reading, writing = os.pipe()
        request = {"arguments": arguments, "environment": dict(env), "folder": str(cwd or Path.cwd())}
        socket.send_fds(cls.connect(), [json.dumps(request).encode()], [*theirs, writing])
        for fd in (*theirs, writing):
            os.close(fd)
        status = await reader_of(reading)
        return cls(int(await status.readline()), status, ours)

    @classmethod
    def connect(cls) -> socket.socket:
        if cls.parent is None:
            cls.parent, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            for end in (cls.parent, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_REQUEST_BYTES)
            command = [sys.executable, "-m", __name__, str(theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
            theirs.close()
            atexit.register(close, cls.parent, process)
        return cls.parent

    async def _read_status(self, status: asyncio.StreamReader) -> int:
        line = await status.read()
        assert line, "the process that forks is gone"
        self.returncode = int(line)
        return self.returncode

    async def wait(self) -> int:
        return await asyncio.shield(self._exited)

    def send_signal(self, number: int) -> None:
        """Raises ProcessLookupError for a process that has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    async def communicate(self, given: bytes = b"") -> tuple[bytes, bytes]:
        """Write to standard input, read output and error to their ends, and wait for the exit."""
        stdin, *outputs = self.ends
        readers = [await reader_of(fd) if fd is not None else None for fd in outputs]
        async with asyncio.TaskGroup() as group:
            if stdin is not None:
                group.create_task(asyncio.to_thread(write_all, stdin, given))
            output, problem = (group.create_task(each.read() if each else nothing()) for each in readers)
        await self.wait()
        return output.result(), problem.result()


def close(parent: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    parent.close()
    process.wait()


async def reader_of(fd: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0)
    )
    return reader


async def nothing() -> bytes:
    return b""


def write_all(fd: int, data: bytes) -> None:
    """To a program that may exit without reading it."""
    with contextlib.suppress(BrokenPipeError), os.fdopen(fd, "wb") as file:
        file.write(data)


# The process that forks


def serve(requests: socket.socket) -> NoReturn:
    """Until the tests end: then every process is killed."""
    import run

    gc.collect()
    gc.freeze()
    running: dict[int, int] = {}
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([requests.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            report(running)
        if requests.fileno() in ready:
            data, fds, _, _ = socket.recv_fds(requests, LARGEST_REQUEST_BYTES, 4)
            if not data:
                for pid in running:
                    os.kill(pid, signal.SIGKILL)
                sys.exit(0)
            *standard, status = fds
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for fd in (requests.detach(), wake, woken, status, *running.values()):
                    os.close(fd)
                become(json.loads(data), standard)
                leave(run.main)
            running[pid] = status
            os.write(status, b"%d\n" % pid)
            for fd in standard:
                os.close(fd)


def become(request: dict[str, object], standard: list[int]) -> None:
    """Take on what the start was given."""
    for number, fd in enumerate(standard):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]
    time.tzset()
    os.chdir(str(request["folder"]))
    sys.argv = ["run.py", *request["arguments"]]  # type: ignore[misc]
    if "BROKEN" in os.environ or "SHORT_PAUSES" in os.environ:
        from tests.faults.broken import prepare

        prepare()


def leave(main: Callable[[], int]) -> NoReturn:
    """Exit as Python does, without freeing each object: that would copy all that the fork shares."""
    status: object = 1
    try:
        status = main()
    except SystemExit as error:
        status = error.code
    except BaseException:
        traceback.print_exc()
    if isinstance(status, str):
        print(status, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


def report(running: dict[int, int]) -> None:
    """The exit status of each process that has ended, as ``subprocess`` counts it."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        fd = running.pop(pid)
        os.write(fd, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(fd)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
