"""What a load test reports."""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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

    def _cpu(self) -> float | None:
        with contextlib.suppress(OSError, TypeError):
            return cpu_seconds(self.pid) if self.pid else None
        return None

    def seconds(self) -> float | None:
        now = self._cpu()
        return None if now is None or self.start is None else now - self.start


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


@dataclass
class Order:
    """What arrived on channels, by seq: every one once, in order."""

    last: dict[tuple[Any, str], int] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    disordered: int = 0

    def saw(self, reader: Any, channel: str, seq: int) -> None:
        last = self.last.get((reader, channel))
        if last is not None:
            if seq == last:
                self.doubled += 1
            elif seq < last:
                self.disordered += 1
            else:
                self.lost += seq - last - 1
        self.last[reader, channel] = max(seq, last or 0)
