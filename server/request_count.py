"""Requests that this process has answered, for the monitor."""

from dataclasses import dataclass


@dataclass(slots=True)
class RequestCount:
    """Both only grow."""

    answered: int = 0
    seconds: float = 0.0
