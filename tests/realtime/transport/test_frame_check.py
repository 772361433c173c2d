"""What RFC 6455 forbids in a client's frames."""

import itertools

import pytest

from realtime.transport.frame_check import FrameCheck

MASK = b"\1\2\3\4"


def frame(first: int, payload: bytes = b"", *, masked: bool = True) -> bytes:
    size = len(payload)
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    body = bytes(each ^ key for each, key in zip(payload, itertools.cycle(MASK), strict=False))
    return head + MASK + body if masked else head + payload


def closing(code: int) -> bytes:
    return frame(0x88, code.to_bytes(2, "big"))


ALLOWED = {
    "text": frame(0x81, b"x"),
    "empty": frame(0x81),
    "of 126 bytes": frame(0x81, b"x" * 126),
    "of 65536 bytes": frame(0x82, b"x" * 65536),
    "in fragments, a ping between": frame(0x01, b"a") + frame(0x89) + frame(0x80, b"b"),
    "a Close without a code": frame(0x88),
    **{f"a Close of {code}": closing(code) for code in (1000, 1003, 1007, 1014, 3000, 4999)},
}
FORBIDDEN = {
    "without a mask": frame(0x81, b"x", masked=False),
    "a length in a longer form": b"\x81\xfe\0\x05" + MASK + b"xxxxx",
    "a length in the longest form": b"\x81\xff" + (200).to_bytes(8, "big") + MASK + b"x" * 200,
    "a message within a message": frame(0x01, b"a") + frame(0x81, b"b"),
    **{f"a Close of {code}": closing(code) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000)},
}


@pytest.mark.parametrize("data", ALLOWED.values(), ids=ALLOWED.keys())
@pytest.mark.parametrize("step", [1, 3, 10**6])
def test_frames_that_are_allowed(data: bytes, step: int) -> None:
    check = FrameCheck()
    whole = data * 2 if data[0] & 0x0F != 8 else data
    for start in range(0, len(whole), step):
        part = whole[start : start + step]
        assert check.accepted(part) == len(part)


@pytest.mark.parametrize("data", FORBIDDEN.values(), ids=FORBIDDEN.keys())
@pytest.mark.parametrize("step", [1, 3, 10**6])
def test_frames_that_are_not(data: bytes, step: int) -> None:
    check, good = FrameCheck(), frame(0x81, b"before")
    whole = good + data
    accepted = 0
    for start in range(0, len(whole), step):
        part = whole[start : start + step]
        count = check.accepted(part)
        accepted += count
        if count < len(part):
            break
    else:
        pytest.fail("all was accepted")
    assert accepted >= len(good), "what stands before it counts"
