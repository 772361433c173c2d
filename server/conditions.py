"""Conditional requests: what a client says of the version it has. RFC 9110, section 13."""

from aiohttp import web


def not_modified(request: web.Request, etag: str) -> bool:
    """Whether ``If-None-Match`` names this version, by itself, in a list, or as any; weak tags are equal to strong ones."""
    return any(each.value in (etag, "*") for each in request.if_none_match or ())


def precondition_failed(request: web.Request, etag: str) -> bool:
    """Whether ``If-Match`` is there and names only other versions; a weak tag matches nothing."""
    wanted = request.if_match
    return wanted is not None and not any(each.value in (etag, "*") and not each.is_weak for each in wanted)
