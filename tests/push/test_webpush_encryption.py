"""Encryption of Web Push messages: RFC 8291's own example, and an independent implementation."""

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from push.webpush_encryption import CURVE, base64url, encrypt, from_base64url, public_bytes, read_auth, read_public_key

# RFC 8291, section 5 and appendix A.
TEXT = b"When I grow up, I want to be a watermelon"
P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQ"
    "pu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_the_example_of_the_rfc() -> None:
    key = ec.derive_private_key(int.from_bytes(from_base64url(SENDER)), CURVE)
    assert base64url(encrypt(TEXT, P256DH, AUTH, key=key, salt=from_base64url(SALT))) == BODY


@pytest.mark.parametrize("size", [0, 1, 2600, 3993])
def test_another_implementation_decrypts_it(size: int) -> None:
    browser, auth, text = ec.generate_private_key(CURVE), b"0123456789abcdef", b"x" * size
    body = encrypt(text, base64url(public_bytes(browser.public_key())), base64url(auth))
    assert http_ece.decrypt(body, private_key=browser, auth_secret=auth, version="aes128gcm") == text
    assert len(body) == size + 103 <= 4096


def test_each_body_is_another() -> None:
    assert encrypt(TEXT, P256DH, AUTH) != encrypt(TEXT, P256DH, AUTH)


@pytest.mark.parametrize(
    "key", ["", "x", "é", "AAAA", base64url(b"\x04" + b"\x01" * 64), base64url(b"\x05" * 65), P256DH[:-4]]
)
def test_what_is_not_a_point_on_the_curve_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        read_public_key(key)


@pytest.mark.parametrize("secret", ["", "AAAA", AUTH + "AA", "***"])
def test_what_is_not_a_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        read_auth(secret)
