"""Bytes that are made and compressed once, and sent only to a client that has others."""

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from server.conditions import not_modified

# RFC 9110, section 12.5.3.
GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))")


@dataclass(frozen=True, slots=True)
class Packed:
    plain: bytes
    gzip: bytes
    etag: str

    def answer(self, request: web.Request, content_type: str, headers: Mapping[str, str] | None = None) -> web.Response:
        """200 with the bytes, or 304; browsers ask each time whether theirs are still the same."""
        sent = {"ETag": f'W/"{self.etag}"', "Cache-Control": "no-cache", "Vary": "Accept-Encoding", **(headers or {})}
        if not_modified(request, self.etag):
            return web.Response(status=304, headers=sent)
        body = self.plain
        if GZIP.search(request.headers.get("Accept-Encoding", "")):
            sent["Content-Encoding"] = "gzip"
            body = self.gzip
        charset = "utf-8" if content_type.startswith("text/") else None
        return web.Response(body=body, headers=sent, content_type=content_type, charset=charset)


def pack(plain: bytes) -> Packed:
    return Packed(plain, gzip.compress(plain, mtime=0), hashlib.sha256(plain).hexdigest()[:20])
