"""What signs tokens and links: a new secret signs, those before it still verify until nothing of theirs is left."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import jwt

ALGORITHM = "HS256"
SHORTEST_SECRET = 32
# Tokens of earlier versions have neither a type nor a key id; nor may those of another service that signs with our secret.
PLAIN = "jwt"


def key_id(secret: str) -> str:
    """A secret's name in the head of a token, which reveals nothing of it."""
    return hashlib.sha256(f"key id {secret}".encode()).hexdigest()[:8]


class Signer:
    """Signs with the first of ``secrets`` for one ``purpose``, and verifies with any.

    Each purpose has keys of its own, made of the secrets; an empty one uses the secrets themselves.
    """

    def __init__(self, secrets: Sequence[str], purpose: str = "") -> None:
        self.keys = {
            key_id(each): hmac.digest(each.encode(), purpose.encode(), hashlib.sha256) if purpose else each.encode()
            for each in secrets
        }
        self.newest = next(iter(self.keys))

    @property
    def key(self) -> bytes:
        """The one that signs."""
        return self.keys[self.newest]

    def sign(self, text: str) -> str:
        return hmac.digest(self.key, text.encode(), hashlib.sha256).hex()

    def is_signed(self, text: str, signature: str) -> bool:
        """For a wrong one in the same time, however much of it is right."""
        made = (hmac.digest(key, text.encode(), hashlib.sha256).hex().encode() for key in self.keys.values())
        return any(hmac.compare_digest(each, signature.encode()) for each in made)


class TokenSigner(Signer):
    """Signs tokens of one ``type``, the ``typ`` of their head (RFC 8725, section 3.11)."""

    def __init__(self, secrets: Sequence[str], type: str, purpose: str = "") -> None:
        super().__init__(secrets, purpose)
        self.type = type
        # Most tokens have been made here: their heads are known, and need not be read.
        self.heads = {self._encode({}, kid).partition(".")[0]: [key] for kid, key in self.keys.items()}
        self.heads[jwt.encode({}, "x" * SHORTEST_SECRET, algorithm=ALGORITHM).partition(".")[0]] = [*self.keys.values()]

    def encode(self, claims: dict[str, Any]) -> str:
        return self._encode(claims, self.newest)

    def _encode(self, claims: dict[str, Any], kid: str) -> str:
        return jwt.encode(claims, self.keys[kid], algorithm=ALGORITHM, headers={"kid": kid, "typ": self.type})

    def decode(self, token: str, **options: Any) -> dict[str, Any] | None:
        """The claims; None for a token of another algorithm. ``options`` are those of PyJWT, whose errors it raises."""
        keys = self.heads.get(token.partition(".")[0])
        if keys is None:
            head = jwt.get_unverified_header(token)
            if head.get("alg") != ALGORITHM:
                return None
            keys = self._keys_of(head)
        for key in keys[:-1]:
            try:
                return jwt.decode(token, key, algorithms=[ALGORITHM], **options)
            except jwt.InvalidSignatureError:
                continue
        return jwt.decode(token, keys[-1], algorithms=[ALGORITHM], **options)

    def _keys_of(self, head: dict[str, Any]) -> list[bytes]:
        """All of them for a key id that is not ours: another service that signs with our secret may name it differently."""
        # A media type: without regard to case, its application/ left out (RFC 7515, section 4.1.9).
        of_type = str(head.get("typ", PLAIN)).lower().removeprefix("application/")
        if of_type not in (PLAIN, self.type):
            raise jwt.InvalidTokenError("a token of another type")
        key = self.keys.get(head["kid"]) if isinstance(head.get("kid"), str) else None
        return [key] if key else [*self.keys.values()]
