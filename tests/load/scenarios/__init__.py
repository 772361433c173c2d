"""One load each: ``await run(target, options)`` gives its figures."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.load.target import Target


@dataclass(frozen=True)
class Options:
    """``messages`` of each client; ``under_way`` at once; ``seconds`` where a scenario has no end of its own."""

    clients: int = 100
    messages: int = 100
    under_way: int = 1
    chats: int = 10
    seconds: float = 10
    rate: float = 0
    shown: bool = True


Scenario = Callable[[Target, Options], Coroutine[Any, Any, dict[str, Any]]]
