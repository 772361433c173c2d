"""Where the provider does not let us in, nothing is sent for a while; then one push goes ahead of the others.

A key may be refused altogether, or for one environment or topic alone: each has a door of its own, so that what is wrong with
one app does not keep the others waiting.
"""

import logging
import time
from collections import OrderedDict

logger = logging.getLogger("bellwire.push")

PAUSE = 60.0
KEPT = 1000
ONE_APP = {"BadEnvironmentKeyIdInToken", "UnrelatedKeyIdInToken", "TopicDisallowed"}
EVERYTHING = ""


class Door:
    def __init__(self, name: str) -> None:
        self.name = name
        self.until = 0.0
        self.proven = True
        self.trying = False

    @property
    def shut(self) -> bool:
        return time.monotonic() < self.until or (self.trying and not self.proven)

    def came_back(self, *, let_in: bool, reason: str, began: float) -> None:
        """Only what went after the door was shut proves that it is open again."""
        self.trying = False
        if let_in:
            self.proven = self.proven or began >= self.until
            return
        self.proven = False
        if time.monotonic() >= self.until:
            self.until = time.monotonic() + PAUSE
            where = f" for {self.name}" if self.name else ""
            logger.error("APNs lets nothing in%s: %s; pushes wait for %d s", where, reason, PAUSE)


class Circuit:
    def __init__(self) -> None:
        self.all = Door(EVERYTHING)
        self.doors: OrderedDict[str, Door] = OrderedDict()

    def door(self, app: str) -> Door:
        door = self.doors.setdefault(app, Door(app))
        self.doors.move_to_end(app)
        while len(self.doors) > KEPT:
            self.doors.popitem(last=False)
        return door

    def enter(self, app: str) -> bool:
        """Whether a push to this app may go."""
        doors = (self.all, self.door(app))
        if any(door.shut for door in doors):
            return False
        for door in doors:
            door.trying = True
        return True

    def wait(self, app: str) -> float:
        """Seconds until it is worth asking again."""
        return max(1.0, max(self.all.until, self.door(app).until) - time.monotonic())

    def came_back(self, app: str, refused: str | None, *, answered: bool, began: float) -> None:
        """A push that went at ``began`` was let in, refused for this reason, or not answered."""
        if not answered:
            self.door(app).trying = self.all.trying = False
            return
        one_app = refused in ONE_APP
        self.door(app).came_back(let_in=refused is None or not one_app, reason=refused or "", began=began)
        self.all.came_back(let_in=refused is None or one_app, reason=refused or "", began=began)
