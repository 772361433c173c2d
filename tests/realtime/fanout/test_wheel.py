"""The wheel of seconds, also where the clock jumps."""

from realtime.fanout.wheel import Wheel


def test_what_is_due_comes_once() -> None:
    wheel: Wheel[str] = Wheel(100)
    assert wheel.add(105, "five") == 105 and wheel.add(90, "past") == 101
    assert wheel.turn(101) == ["past"] and wheel.turn(104) == []
    assert wheel.turn(105) == ["five"] and wheel.turn(106) == [] and not wheel.due


def test_what_was_taken_off_never_comes() -> None:
    wheel: Wheel[str] = Wheel(100)
    wheel.add(105, "a")
    wheel.add(105, "b")
    wheel.discard(105, "a")
    wheel.discard(105, "c")
    wheel.discard(7, "a")
    assert wheel.turn(110) == ["b"] and not wheel.due


def test_a_clock_that_jumps() -> None:
    wheel: Wheel[str] = Wheel(1_000_000)
    wheel.add(1_000_010, "soon")
    wheel.add(1_003_610, "in an hour")
    assert wheel.turn(1_003_600) == ["soon"]
    assert wheel.turn(1_000_001) == []
    assert wheel.add(1_000_002, "after going back") == 1_000_002
    assert wheel.turn(1_000_002) == ["after going back"] and wheel.turn(1_003_610) == ["in an hour"]
