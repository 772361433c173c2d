"""How many connections are open, in all and of each address, so that one address can't use all of them."""

import contextlib
import logging
import resource
from collections import Counter
from collections.abc import Callable
from functools import partial

logger = logging.getLogger("bellwire.http")

# Descriptors for files, the database, Redis, pushes and webhooks; and connections for this machine and proxies alone.
RESERVED_DESCRIPTORS = 128
OPERATOR_CONNECTIONS = 32
HIGHEST = 1 << 20


def raise_descriptors() -> int:
    """Raise the soft limit of open files to the hard one; the limit that holds then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HIGHEST if hard == resource.RLIM_INFINITY else min(hard, HIGHEST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # The system may have a limit of its own that cannot be read.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return HIGHEST if soft == resource.RLIM_INFINITY else soft


class Connections:
    """At most ``most`` are open, at most ``per_address`` or half of them of one address.

    ``key_of`` gives the address that counts for a host, None for this machine and proxies, which have no limit but ``most``
    and some places of their own.
    """

    def __init__(self, key_of: Callable[[str], str | None], *, per_address: int, most: int) -> None:
        self.key_of = key_of
        self.most = most
        self.per_address = min(per_address, max(1, most // 2))
        # Open now: all, and by address.
        self.open = 0
        self.of_address: Counter[str] = Counter()
        # Only grows.
        self.refused = 0

    def enter(self, host: str) -> Callable[[], None] | None:
        """A connection of this host was accepted: what to call when it is gone, None if it must be closed at once."""
        key = self.key_of(host)
        places = self.most if key is None else self.most - OPERATOR_CONNECTIONS
        if self.open >= places or (key is not None and self.of_address[key] >= self.per_address):
            self.refused += 1
            if self.refused & (self.refused - 1) == 0:
                logger.warning("%d connections refused so far; %d open", self.refused, self.open)
            return None
        self.open += 1
        if key is not None:
            self.of_address[key] += 1
        return partial(self._leave, key)

    def _leave(self, key: str | None) -> None:
        self.open -= 1
        if key is not None:
            self.of_address[key] -= 1
            if not self.of_address[key]:
                del self.of_address[key]
