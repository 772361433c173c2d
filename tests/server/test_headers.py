"""The headers that tell a browser what it may do with an answer, on every answer."""

import pytest

from tests.conftest import Served, ServerFactory

PATHS = [
    "/", "/monitor", "/docs", "/docs/socket", "/static/css/base.css", "/vendor/icons.js", "/openapi.json", "/asyncapi.json",
    "/healthz", "/readyz", "/metrics", "/nowhere", "/api/v1/users/me", "/api/v2/chats", "/v1/notifications",
    "/socket.io/?EIO=4&transport=polling",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_has_them(server: Served, path: str) -> None:
    headers = (await server.people.anonymous.get(path)).headers
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in headers, "without TLS it means nothing"
    if path.startswith(("/api", "/v1")):
        assert headers["Cache-Control"] == "no-store"


async def test_over_tls_browsers_stay_with_it(serve: ServerFactory) -> None:
    server = await serve(public_url="https://chat.example.org")
    for path in PATHS:
        assert (await server.people.anonymous.get(path)).headers["Strict-Transport-Security"] == "max-age=31536000", (
            path
        )
