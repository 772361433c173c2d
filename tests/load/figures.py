"""What a load test measures and reports."""

import contextlib
import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def children(pid: int) -> list[int]:
    """Processes that this one has started and that run."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, from the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


class Usage:
    """A server process, where it can be read: its CPU since the beginning, and its memory."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        self.start = self._cpu()
        self.memory_before = self.memory()

    def _cpu(self) -> float | None:
        with contextlib.suppress(OSError, TypeError):
            return cpu_seconds(self.pid) if self.pid else None
        return None

    def seconds(self) -> float | None:
        now = self._cpu()
        return None if now is None or self.start is None else now - self.start

    def each(self, count: int) -> float | None:
        """CPU for each of so many, in µs."""
        spent = self.seconds()
        return None if spent is None or not count else round(spent / count * 1e6, 2)

    def memory(self) -> int | None:
        with contextlib.suppress(OSError):
            return memory_bytes(self.pid) if self.pid else None
        return None


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def milliseconds(latency: list[float]) -> dict[str, float]:
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
    return {name: round(percentile(latency, share) * 1e3, 2) for name, share in shares.items()}


class Meter:
    """Counts what is done, with its latency in seconds, which counts after ``warm`` seconds; shows a bar while it runs."""

    def __init__(self, what: str, total: int | None = None, *, shown: bool = True, warm: float = 0.0) -> None:
        self.warm = warm
        self.began = time.perf_counter()
        self.latency: list[float] = []
        self.by_second: dict[int, list[float]] = defaultdict(list)
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            refresh_per_second=2, transient=True, disable=not shown,
        )  # fmt: skip
        self.task = self.progress.add_task(what, total=total)
        self.done = 0

    def __enter__(self) -> "Meter":
        self.progress.start()
        self.began = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.perf_counter() - self.began
        self.progress.stop()

    def add(self, latency: float) -> None:
        self.done += 1
        if time.perf_counter() >= self.began + self.warm:
            self.latency.append(latency)
        self.by_second[int(time.perf_counter() - self.began)].append(latency)
        if not self.done % 100:
            self.progress.update(self.task, completed=self.done)

    def figures(self) -> dict[str, Any]:
        """Throughput, latency, and both over time."""
        return {
            "per_second": round(self.done / self.seconds) if self.seconds else 0,
            **milliseconds(self.latency),
            "timeline": [
                {"second": second, "count": len(some), "p99_ms": round(percentile(some, 0.99) * 1e3, 2)}
                for second, some in sorted(self.by_second.items())
            ],
        }


@dataclass
class Order:
    """What arrived on channels, by seq: every one once, in order."""

    last: dict[tuple[Any, bytes], int] = field(default_factory=dict)
    events: int = 0
    lost: int = 0
    doubled: int = 0
    disordered: int = 0

    def saw(self, reader: Any, channel: bytes, seq: int) -> None:
        self.events += 1
        last = self.last.get((reader, channel))
        if last is not None:
            if seq == last:
                self.doubled += 1
            elif seq < last:
                self.disordered += 1
            else:
                self.lost += seq - last - 1
        self.last[reader, channel] = max(seq, last or 0)

    def read(self, reader: Any, packet: bytes) -> None:
        """A packet of the product's, which ends with ``{"channel":…,"seq":…}]``; others have no order."""
        start = packet.rfind(b'{"channel":"')
        end = packet.find(b'","seq":', start)
        if start >= 0 and end >= 0:
            self.saw(reader, packet[start + 12 : end], int(packet[end + 8 : -2]))

    def figures(self) -> dict[str, int]:
        return {"lost": self.lost, "doubled": self.doubled, "disordered": self.disordered}
