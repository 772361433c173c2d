"""Whether a provider is believed when it calls tokens dead: an outage or a wrong key must not empty the table of devices."""

from collections import Counter, deque

# Of so many answers at most …
WINDOW = 200
# … this share may be about dead tokens, and in any case so many tokens.
SHARE = 0.2
ALWAYS = 5


class DeadGuard:
    """Remembers the last answers of a provider."""

    def __init__(self) -> None:
        # The token of each answer that called it dead, None for each other.
        self.answers: deque[str | None] = deque()
        self.dead: Counter[str] = Counter()

    def add(self, dead_token: str | None) -> None:
        self.answers.append(dead_token)
        if dead_token is not None:
            self.dead[dead_token] += 1
        if len(self.answers) > WINDOW:
            oldest = self.answers.popleft()
            if oldest is not None:
                self.dead[oldest] -= 1
                if not self.dead[oldest]:
                    del self.dead[oldest]

    @property
    def believes(self) -> bool:
        return len(self.dead) <= max(ALWAYS, SHARE * len(self.answers))
