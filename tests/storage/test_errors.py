"""Error codes are part of the API."""

import re
from pathlib import Path

import run  # noqa: F401 - imports everything
from realtime.schema.statuses import STATUSES, status_of
from storage.errors import RESTRICTIONS, Problem, Restricted

# What clients may depend on: a code is never renamed, and none is removed.
PUBLISHED = {
    "malformed": 400, "invalid": 400, "unauthenticated": 401, "token_expired": 401, "forbidden": 403,
    "registration_closed": 403, "not_found": 404, "method_not_allowed": 405, "conflict": 409, "too_large": 413,
    "unsupported": 415, "too_many": 429, "unavailable": 503, "internal": 500,
    "banned": 403, "silenced": 403, "frozen": 403, "links": 403, "slow_mode": 429, "listed_word": 400,
}  # fmt: skip


def test_the_codes_are_those_that_were_published() -> None:
    problems = [each() for each in kinds(Problem)] + [Restricted(each) for each in RESTRICTIONS]
    assert {each.code: status_of(each) for each in problems} == PUBLISHED == STATUSES


def kinds(kind: type[Problem]) -> set[type[Problem]]:
    """A class and all below it, wherever they are defined."""
    return {kind}.union(*(kinds(each) for each in kind.__subclasses__()))


def test_the_page_lists_them() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", Path("docs/errors.md").read_text(), re.MULTILINE)
    assert {code: int(status) for code, status in rows} == PUBLISHED
