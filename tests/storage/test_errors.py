"""Error codes are part of the API."""

import ast
import re
from collections.abc import Iterator
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
    "weak_password": 400, "wrong_credentials": 401, "refresh_token_reused": 401, "wrong_password": 403,
    "local_accounts_disabled": 403, "invite_invalid": 404, "reset_link_invalid": 404, "account_exists": 409,
    "already_reported": 409, "chat_full": 409, "direct_chat": 409, "id_taken": 409, "idempotency_key_reused": 409,
    "insufficient_credits": 409, "last_admin": 409, "last_owner": 409, "limit_reached": 409, "message_deleted": 409,
    "no_invites": 409, "own_account": 409, "recipient_inactive": 409,
    "storage_full": 409, "stream_state": 409, "transfer_final": 409,
}  # fmt: skip


def kinds(kind: type[Problem]) -> set[type[Problem]]:
    """A class and all below it, wherever they are defined."""
    return {kind}.union(*(kinds(each) for each in kind.__subclasses__()))


# The codes of classes, by name.
PROBLEMS = {each.__name__: each.code for each in kinds(Problem)}


def test_the_codes_are_those_that_were_published() -> None:
    problems = [each() for each in kinds(Problem)] + [Restricted(each) for each in RESTRICTIONS]
    named = {each.code: status_of(each) for each in problems} | {code: STATUSES[code] for code, _ in raised()}
    assert named == PUBLISHED == STATUSES


def test_a_code_has_the_status_of_the_class_that_is_raised_with_it() -> None:
    assert [(code, name) for code, name in raised() if STATUSES[code] != STATUSES[PROBLEMS[name]]] == []


def raised() -> Iterator[tuple[str, str]]:
    """Codes that are given to an error where it is made, with the name of its class."""
    for path in (path for folder in ("storage", "realtime", "server") for path in Path(folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PROBLEMS:
                for keyword in node.keywords:
                    if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                        yield str(keyword.value.value), node.func.id


def test_the_page_lists_them() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", Path("docs/errors.md").read_text(), re.MULTILINE)
    assert {code: int(status) for code, status in rows} == PUBLISHED
