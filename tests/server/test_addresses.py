"""Whose address counts, behind proxies that are trusted and others."""

from ipaddress import ip_network

import pytest
from aiohttp.test_utils import make_mocked_request

from server.addresses import Addresses


@pytest.mark.parametrize(
    ("remote", "forwarded", "counted"),
    [
        ("203.0.113.7", None, "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("127.0.0.1", None, None),
        ("127.0.0.1", "198.51.100.1", None),
        ("::1", None, None),
        ("10.1.2.3", None, None),
        ("10.1.2.3", "198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", "1.1.1.1, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
        ("10.1.2.3", "127.0.0.1", None),
        *(("10.1.2.3", f"6.6.6.6, {last}", None) for last in ("nonsense", "unix:", "unknown", "_hidden", "")),
        ("10.1.2.3", "198.51.100.1:4711", "198.51.100.1"),
        ("10.1.2.3", "[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("::ffff:10.1.2.3", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", None, "2001:db8:1:2::/64"),
        (None, None, None),
    ],
)
def test_whose_address_counts(remote: str | None, forwarded: str | None, counted: str | None) -> None:
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": forwarded} if forwarded else {})
    addresses = Addresses([ip_network("10.0.0.0/8")])
    assert addresses.of(request.clone(remote=remote) if remote else request.clone(remote="")) == counted
    lines = ["GET / HTTP/1.1", "Host: x", *([f"x-forwarded-FOR: {forwarded}"] if forwarded is not None else []), "", ""]
    assert addresses.of_head(remote or "", "\r\n".join(lines).encode()) == counted


@pytest.mark.parametrize(
    ("remote", "forwarded", "private"),
    [
        ("127.0.0.1", None, True), ("::1", None, True), ("192.168.1.5", None, True), ("fd00::1", None, True),
        ("9.9.9.9", None, False), ("2001:db8::1", None, True), ("2600::1", None, False),
        ("127.0.0.1", "9.9.9.9", False), ("127.0.0.1", "10.1.2.3", False), ("192.168.1.5", "unknown", False),
        ("10.1.2.3", None, True), ("10.1.2.3", "9.9.9.9", False), ("10.1.2.3", "192.168.1.5", True),
        ("10.1.2.3", "192.168.1.5, 9.9.9.9", False), ("10.1.2.3", "9.9.9.9, nonsense", False), (None, None, False),
    ],
)  # fmt: skip
def test_who_comes_from_a_private_network(remote: str | None, forwarded: str | None, private: bool) -> None:
    """A proxy that nobody named may have been asked by anybody."""
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": forwarded} if forwarded else {})
    addresses = Addresses([ip_network("10.0.0.0/8")])
    assert addresses.is_private(request.clone(remote=remote) if remote else request.clone(remote="")) is private
