"""What is due at a second of the wall clock, for many: an entry in a list, instead of a timer each."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Wheel(Generic[T]):
    """``turn`` is called every second; a clock that was set forward or back is followed."""

    def __init__(self, second: int) -> None:
        self.second = second
        self.due: dict[int, list[T]] = {}

    def add(self, second: int, item: T) -> None:
        """Due at the next turn if the second is past already."""
        self.due.setdefault(max(second, self.second + 1), []).append(item)

    def turn(self, second: int) -> list[T]:
        """What has become due up to a second."""
        if second - self.second > len(self.due):
            passed = [each for each in self.due if each <= second]
        else:
            passed = [each for each in range(self.second + 1, second + 1) if each in self.due]
        self.second = second
        return [item for each in passed for item in self.due.pop(each)]
