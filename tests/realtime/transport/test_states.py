"""The table of how connections end, as documented."""

import re
from pathlib import Path

from realtime.transport.states import FRAME_ERRORS, Ending


def test_every_ending_is_documented_with_its_code() -> None:
    rows = dict.fromkeys(
        re.findall(r"^\| (\d{4}|none \(1006\)) \| (.+) \|$", Path("docs/clients.md").read_text(), re.M)
    )
    documented = {(code, reason) for code, text in rows for reason in text.partition(":")[0].split(", ")}
    assert documented == {("none (1006)" if each.code == 1006 else str(each.code), each.reason) for each in Ending}


def test_an_error_of_a_frame_has_its_own_code() -> None:
    assert {code: each.code for code, each in FRAME_ERRORS.items()} == {1002: 1002, 1007: 1007, 1009: 1009}
