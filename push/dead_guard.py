"""Whether a provider is believed when it calls tokens dead: an outage or a wrong key must not empty the table of devices."""

from collections import Counter, deque

# Of so many answers at most …
WINDOW = 200
# … this share may be about dead tokens, or they may be of so many users.
SHARE = 0.2
USERS = 5


class DeadGuard:
    """Remembers the last answers of a provider.

    Users are counted beside answers: where little is pushed, one user's old devices are not an outage, and one who registers
    tokens that never lived does not pause the pushes of others.
    """

    def __init__(self) -> None:
        # The user whose token each answer called dead, None for each other answer.
        self.answers: deque[int | None] = deque()
        self.users: Counter[int] = Counter()

    def add(self, dead_of: int | None) -> None:
        self.answers.append(dead_of)
        if dead_of is not None:
            self.users[dead_of] += 1
        if len(self.answers) > WINDOW:
            oldest = self.answers.popleft()
            if oldest is not None:
                self.users[oldest] -= 1
                if not self.users[oldest]:
                    del self.users[oldest]

    @property
    def dead(self) -> int:
        """How many of the last answers called a token dead."""
        return self.users.total()

    @property
    def believes(self) -> bool:
        return len(self.users) <= USERS or self.dead <= SHARE * len(self.answers)
