"""Which web pages may use the server, and under which names it answers."""

import pytest

from server.origins import Hosts, Origins

PUBLIC = "https://chat.example.org/base"


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://chat.example.org", "x", True),
        ("https://CHAT.example.org.:443", "x", True),
        ("wss://chat.example.org", "x", True),
        ("http://chat.example.org", "chat.example.org", False),
        ("https://app.example.org", "x", True),
        ("https://app.example.org:8443", "x", False),
        ("https://other.example.org", "x", False),
        ("http://10.0.0.7:8080", "10.0.0.7:8080", True),
        ("http://10.0.0.7:8080", "10.0.0.7:8081", False),
        ("http://10.0.0.7", "10.0.0.7:80", True),
        ("null", "x", False),
        ("https://app.example.org/path", "x", False),
        ("https://app.example.org@evil.example", "x", False),
        ("file://x", "x", False),
        ("https://app.example.org:x", "x", False),
        ("", "x", False),
    ],
)
def test_an_origin(origin: str, host: str, allowed: bool) -> None:
    origins = Origins(PUBLIC, ["https://app.example.org"])
    assert origins.allowed(origin, {"HTTP_HOST": host}) is allowed


def test_all_and_those_that_are_named() -> None:
    origins = Origins("", ["*", "null", "https://app.example.org"])
    assert origins.allowed("https://anywhere.example", {}) and origins.allowed("null", {})
    assert origins.is_named("null") and origins.is_named("https://app.example.org")
    assert not origins.is_named("https://anywhere.example")


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("chat.example.org", True),
        ("CHAT.example.org.:8080", True),
        ("app.example.org", True),
        ("lb.example.org:80", True),
        ("evil.example", False),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("[::1]", True),
        ("bellwire", True),
        ("bellwire.local", True),
        ("x.internal:1", True),
        ("local.evil.example", False),
        ("1.2.3.4.evil.example", False),
    ],
)
def test_a_host(header: str, allowed: bool) -> None:
    assert Hosts(PUBLIC, ["https://app.example.org"], ["LB.example.org"]).allowed(header) is allowed
