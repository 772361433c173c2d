"""The figures of all nodes over the last day: in memory, and in a file per hour, so that a restart does not lose them."""

import asyncio
import logging
from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from storage.nodes import Seen
from storage.types import SECOND

logger = logging.getLogger("bellwire")

SAMPLE_SECONDS = 10.0
KEPT_SECONDS = 24 * 3600
FILE_SECONDS = 3600
# Of a series that is shown.
MOST_POINTS = 240


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of a node at a time, in microseconds. ``values`` are in the order of ``names``, which samples share."""

    at: int
    id: str
    place: str
    names: tuple[str, ...]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Series:
    """The figures of one node: ``figures[name][i]`` is of the time ``times[i]``."""

    id: str
    place: str
    times: Sequence[int]
    figures: Mapping[str, Sequence[float]]


class FigureHistory:
    """``await load()`` before use. Every node keeps what it sees of all nodes, so that any of them can show it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Oldest first.
        self.samples: deque[Sample] = deque()
        # Equal tuples are kept once.
        self.names: dict[tuple[str, ...], tuple[str, ...]] = {}

    async def load(self, at: int) -> None:
        await asyncio.to_thread(self._read_files, at)

    async def record(self, nodes: Iterable[Seen], at: int) -> None:
        fresh = [self._sample(at, each.id, each.place, each.figures) for each in nodes]
        self.samples.extend(fresh)
        self._drop_old(at)
        await asyncio.to_thread(self._write, fresh, at)

    def series(self, *, seconds: int, at: int) -> list[Series]:
        """Of each node that was there, at most ``MOST_POINTS`` samples of the last ``seconds``, evenly apart."""
        since = at - seconds * SECOND
        step = -(-seconds * SECOND // MOST_POINTS)
        # The last sample of each step of each node.
        chosen: dict[str, dict[int, Sample]] = {}
        for sample in tuple(self.samples):
            if sample.at > since:
                chosen.setdefault(sample.id, {})[(sample.at - since - 1) // step] = sample
        return [series_of(list(samples.values())) for samples in chosen.values()]

    def _sample(self, at: int, id: str, place: str, figures: Mapping[str, float]) -> Sample:
        names = self.names.setdefault(tuple(figures), tuple(figures))
        return Sample(at, id, place, names, array("d", figures.values()))

    def _drop_old(self, at: int) -> None:
        while self.samples and self.samples[0].at <= at - KEPT_SECONDS * SECOND:
            self.samples.popleft()

    # Files

    def _file(self, at: int) -> Path:
        return self.folder / f"{at // SECOND // FILE_SECONDS}.jsonl"

    def _write(self, samples: Iterable[Sample], at: int) -> None:
        """A full disk costs the history after a restart, and nothing else."""
        lines = [
            orjson.dumps([each.at, each.id, each.place, dict(zip(each.names, each.values, strict=True))]) + b"\n"
            for each in samples
        ]
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._file(at).open("ab") as file:
                file.writelines(lines)
            for path in self._files():
                if int(path.stem) < (at // SECOND - KEPT_SECONDS) // FILE_SECONDS:
                    path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the history of figures could not be written: %s", error)

    def _files(self) -> list[Path]:
        return sorted(
            (each for each in self.folder.glob("*.jsonl") if each.stem.isdecimal()), key=lambda it: int(it.stem)
        )

    def _read_files(self, at: int) -> None:
        for path in self._files():
            try:
                lines = path.read_bytes().splitlines()
            except OSError as error:
                logger.warning("the history of figures could not be read: %s", error)
                continue
            for line in lines:
                try:
                    self.samples.append(self._sample(*orjson.loads(line)))
                except (TypeError, ValueError):
                    # The process ended while it wrote this line.
                    continue
        self._drop_old(at)


def series_of(samples: Sequence[Sample]) -> Series:
    last = samples[-1]
    known = [dict(zip(each.names, each.values, strict=True)) for each in samples]
    figures = {name: [each.get(name, 0.0) for each in known] for name in last.names}
    return Series(last.id, last.place, [each.at for each in samples], figures)
