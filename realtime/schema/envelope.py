"""The envelope: how every ack, every ``v1`` answer and every error of the default dialect is wrapped."""

import math
from collections.abc import Sequence
from typing import Any, NotRequired

from typing_extensions import TypedDict

from realtime.schema.documents import end_of
from realtime.schema.statuses import status_of
from storage.errors import Problem, Restricted, SlowMode
from storage.types import iso_time, now


class Detail(TypedDict):
    """Of a restriction also its ``code``, and its end ``until``, null where it has none. ``retryAfter`` in seconds."""

    field: str
    message: str
    code: NotRequired[str]
    until: NotRequired[str | None]
    retryAfter: NotRequired[int]


class Envelope(TypedDict):
    isSuccess: bool
    statusCode: int
    data: Any
    errors: list[str]
    timestamp: str
    details: NotRequired[list[Detail]]
    # Of an error, in acknowledgements; REST has it in the header X-Error-Code.
    code: NotRequired[str]


TEXTS = {
    400: "Validation failed",
    401: "Authentication required",
    403: "Insufficient permissions",
    404: "Resource not found",
    405: "Method not allowed",
    409: "Resource already exists or cannot be changed in its current state",
    413: "Payload too large",
    415: "Unsupported media type",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable",
}


def success(status: int, data: Any, at: int | None = None) -> Envelope:
    """``at`` is the moment of the answer in microseconds, now if absent."""
    timestamp = iso_time(now() if at is None else at)
    return {"isSuccess": True, "statusCode": status, "data": data, "errors": [], "timestamp": timestamp}


def failure(problem: Problem) -> Envelope:
    """The seeds' sentence for the status; what there is more to say stands beside it in ``details``."""
    envelope: Envelope = {
        "isSuccess": False,
        "statusCode": status_of(problem),
        "data": None,
        "errors": [TEXTS.get(status_of(problem), TEXTS[500])],
        "timestamp": iso_time(now()),
    }
    details = details_of(problem)
    if details:
        envelope["details"] = list(details)
    return envelope


def details_of(problem: Problem) -> Sequence[Detail]:
    if problem.details:
        return [{"field": each.field, "message": each.message} for each in problem.details]
    if isinstance(problem, Restricted):
        return [{"field": "", "message": problem.message, "code": problem.code, "until": end_of(problem.until)}]
    if isinstance(problem, SlowMode):
        wait = max(1, math.ceil(problem.retry_after))
        return [{"field": "", "message": problem.message, "code": problem.code, "retryAfter": wait}]
    default = (type(problem).__doc__ or "").split("\n")[0]
    if problem.message not in (default, TEXTS.get(status_of(problem))) and type(problem) is not Problem:
        return [{"field": "", "message": problem.message}]
    return []
