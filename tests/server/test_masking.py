"""What is shown of URLs: never a password, however they are spelled."""

import pytest

from server.masking import masked, masked_value

CANARY = "CANARY"
URLS = [
    "redis://:CANARY1@127.0.0.1:6379",
    "rediss://:CANARY@h",
    "redis+sentinel://:CANARY@a:1,b:2/0/main?sentinel_password=CANARY",
    "redis://ann:CANARY@h/0",
    "redis://ann:CAN@CANARY@h/0",
    "redis://CANARY@h",
    "redis://:CANARY/with/CANARY@h",
    "redis://h?password=CANARY",
    "unix:///run/redis.sock?db=0&password=CANARY",
    "postgresql://bellwire:CANARY@db/bellwire?sslpassword=CANARY&ssl=require",
    "postgresql://db/bellwire?user=ann&password=CANARY",
    "https://key:CANARY@collector:4318",
    "https://collector:4318/?api_key=CANARY",
    "https://issuer/keys?access_token=CANARY#CANARY@x",
    "redis://h?password=CAN@CANARY",
    "redis://h?password=CAN;CANARY",
    "redis://h?%70assword=CANARY",
    "redis://:CAN?CANARY@h",
    "redis://h/0#pass=CANARY",
]


@pytest.mark.parametrize("url", URLS)
def test_no_password_is_shown(url: str) -> None:
    shown = masked(f"BELLWIRE_X={url}  # and {url}")
    assert CANARY not in shown and shown.count("********") >= 2 and "BELLWIRE_X=" in shown


@pytest.mark.parametrize(
    "url",
    ["redis://127.0.0.1:6379/0", "postgresql://db/bellwire", "s3://bucket/files", "ann@example.org", "/a@b"],
)
def test_what_holds_none_stays(url: str) -> None:
    assert masked(url) == url


@pytest.mark.parametrize(
    "value", ["redis:/:CANARY@h", "redis:CANARY@h", "redis//:CANARY@h", "//:CANARY@h", ":CANARY@h", *URLS]
)
def test_no_password_is_shown_of_a_setting(value: str) -> None:
    assert CANARY not in masked_value(value) and "********" in masked_value(value)


def test_a_contact_is_shown() -> None:
    assert masked_value("mailto:ann@example.org") == "mailto:ann@example.org"
