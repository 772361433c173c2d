"""The HTTP status of each error code: what every dialect uses unless it says otherwise."""

from storage.errors import Problem

STATUSES = {
    "malformed": 400,
    "invalid": 400,
    "listed_word": 400,
    "unauthenticated": 401,
    "token_expired": 401,
    "forbidden": 403,
    "registration_closed": 403,
    "banned": 403,
    "silenced": 403,
    "frozen": 403,
    "links": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "too_large": 413,
    "unsupported": 415,
    "too_many": 429,
    "slow_mode": 429,
    "internal": 500,
    "unavailable": 503,
}


def status_of(problem: Problem) -> int:
    return STATUSES[problem.code]
