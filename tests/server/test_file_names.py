"""What clients call their files is kept as people see it."""

import pytest

from realtime.schema.limits import Limits
from server.form import file_name
from tests.conftest import Served
from tests.server.test_media import form

KEPT = [
    "می\u200cخواهم.pdf",
    "👨\u200d👩\u200d👧.jpg",
    "क\u094d\u200dष.txt",
    "Screenshot 2026-01-15 at 9.41.00\u202fAM.png",
    "a\u00a0b.txt",
    "日本\u3000語.txt",
    "Ünïcödé ﬁle.txt",
]
CHANGED = {
    "a\u202egnp.exe": "agnp.exe",
    "\u2066a\u2069.txt": "a.txt",
    "a\r\n\tb\0.txt": "ab.txt",
    "a\u2028b\u2029.txt": "ab.txt",
    "../../etc/passwd": "passwd",
    "C:\\temp\\a.txt": "a.txt",
    "\u200b": "file",
    "...": "file",
    "\u3164\u2800": "file",
    "": "file",
}


@pytest.mark.parametrize("name", KEPT)
async def test_names_are_kept(server: Served, name: str) -> None:
    ann = await server.people.make()
    answer = await ann.post("/api/v2/media", data=form(b"some bytes", name))
    assert answer.status == 201 and answer.json["media"]["name"] == name


@pytest.mark.parametrize("name", CHANGED)
def test_what_no_name_may_hold_goes(name: str) -> None:
    assert file_name(name, Limits()) == CHANGED[name]


def test_a_long_name_is_cut_between_characters_and_keeps_its_suffix() -> None:
    family = "👨\u200d👩\u200d👧"
    name = file_name(family * 100 + ".jpeg", Limits())
    assert name == family * ((255 - 5) // len(family)) + ".jpeg"
    assert file_name("e\u0301" * 200, Limits()) == "e\u0301" * 127
