"""Encryption of Web Push messages for one browser: RFC 8291, over RFC 8188 with a single record."""

import base64
import binascii
import os

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CURVE = ec.SECP256R1()
PUBLIC_KEY_BYTES, AUTH_BYTES, SALT_BYTES = 65, 16, 16
RECORD_BYTES = 4096
LAST_RECORD = b"\x02"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Raises ValueError."""
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("must be base64url") from error


def public_bytes(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def read_public_key(text: str) -> ec.EllipticCurvePublicKey:
    """A browser's ``p256dh``. Raises ValueError for anything but a point on the curve."""
    data = from_base64url(text)
    if len(data) != PUBLIC_KEY_BYTES:
        raise ValueError(f"must be {PUBLIC_KEY_BYTES} bytes in base64url")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(CURVE, data)
    except ValueError:
        raise ValueError("must be a point on the P-256 curve") from None


def read_auth(text: str) -> bytes:
    """A browser's ``auth``. Raises ValueError."""
    data = from_base64url(text)
    if len(data) != AUTH_BYTES:
        raise ValueError(f"must be {AUTH_BYTES} bytes in base64url")
    return data


def encrypt(
    text: bytes,
    p256dh: str,
    auth: str,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """The body of a push: ``key`` and ``salt`` are new for each. Raises ValueError for keys that are not a browser's."""
    theirs, secret = read_public_key(p256dh), read_auth(auth)
    key, salt = key or ec.generate_private_key(CURVE), salt or os.urandom(SALT_BYTES)
    ours = public_bytes(key.public_key())
    shared = key.exchange(ec.ECDH(), theirs)
    info = b"WebPush: info\0" + public_bytes(theirs) + ours
    material = HKDF(algorithm=hashes.SHA256(), length=32, salt=secret, info=info).derive(shared)
    content_key, nonce = (
        HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=b"Content-Encoding: %b\0" % name).derive(
            material
        )
        for name, length in ((b"aes128gcm", 16), (b"nonce", 12))
    )
    head = salt + RECORD_BYTES.to_bytes(4) + PUBLIC_KEY_BYTES.to_bytes(1) + ours
    return head + AESGCM(content_key).encrypt(nonce, text + LAST_RECORD, None)
