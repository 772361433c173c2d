"""What is due at a second of the wall clock, for many: a place in a set, instead of a timer each."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Wheel(Generic[T]):
    """``turn`` is called every second; a clock that was set forward or back is followed."""

    def __init__(self, second: int) -> None:
        self.second = second
        self.due: dict[int, set[T]] = {}

    def add(self, second: int, item: T) -> int:
        """The second when it is due: the next one, if the wanted one is past."""
        second = max(second, self.second + 1)
        self.due.setdefault(second, set()).add(item)
        return second

    def discard(self, second: int, item: T) -> None:
        items = self.due.get(second)
        if items:
            items.discard(item)
            if not items:
                del self.due[second]

    def turn(self, second: int) -> list[T]:
        """What has become due up to a second; it is not on the wheel any more."""
        if second - self.second > len(self.due):
            passed = [each for each in self.due if each <= second]
        else:
            passed = [each for each in range(self.second + 1, second + 1) if each in self.due]
        self.second = second
        return [item for each in passed for item in self.due.pop(each)]
