"""Error codes are part of the API."""

import re
from pathlib import Path

from realtime.schema.statuses import STATUSES, status_of
from server.middleware import MethodNotAllowed
from storage import errors
from storage.errors import Problem

# What clients may depend on: a code is never renamed, and none is removed.
PUBLISHED = {
    "malformed": 400, "invalid": 400, "unauthenticated": 401, "forbidden": 403, "registration_closed": 403,
    "not_found": 404, "method_not_allowed": 405, "conflict": 409, "too_large": 413, "unsupported": 415,
    "too_many": 429, "unavailable": 503, "internal": 500,
}  # fmt: skip


def test_the_codes_are_those_that_were_published() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Problem)]
    kinds.append(MethodNotAllowed)
    assert {each.code: status_of(each()) for each in kinds} == PUBLISHED == STATUSES


def test_the_page_lists_them() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", Path("docs/errors.md").read_text(), re.MULTILINE)
    assert {code: int(status) for code, status in rows} == PUBLISHED
