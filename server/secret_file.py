"""The secrets that sign what this installation gives out: of the settings, or a file in the data folder, the newest first."""

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from server.settings import Settings
from storage.errors import Problem


def secrets_of(settings: Settings) -> list[str]:
    """The configured secrets, or those of the data folder, of which one is made on first use. The first one signs."""
    if given := settings.jwt_secret.get_secret_value():
        return [given, *(each.get_secret_value() for each in settings.jwt_other_secrets)]
    path = secret_path(settings)
    with contextlib.suppress(FileNotFoundError):
        return lines_of(path)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with drafted(path, [new_secret()]) as draft, contextlib.suppress(FileExistsError):
        os.link(draft, path)
    return lines_of(path)


def lines_of(path: Path) -> list[str]:
    """The secrets in a file. Raises ValueError where there is none."""
    lines = [each.strip() for each in path.read_text().splitlines() if each.strip()]
    if not lines:
        raise ValueError(f"{path} is empty: restore it from a backup, or remove it, which logs all users out")
    return lines


def rotate_secret(settings: Settings, *, forget: bool) -> list[str]:
    """Put a new secret before that of the data folder, which goes on to verify unless it is to be forgotten.

    Of three, the oldest goes. Raises Problem where the secret is not in the data folder.
    """
    if settings.jwt_secret.get_secret_value():
        raise Problem(
            "The secret comes from BELLWIRE_JWT_SECRET: put another one there, and this one into BELLWIRE_JWT_OTHER_SECRETS"
        )
    known = secrets_of(settings)
    kept = [new_secret()] if forget else [new_secret(), known[0]]
    with drafted(secret_path(settings), kept) as draft:
        os.replace(draft, secret_path(settings))
    return kept


def secret_path(settings: Settings) -> Path:
    return settings.data_dir / "secret"


def new_secret() -> str:
    return secrets.token_hex(32)


@contextlib.contextmanager
def drafted(path: Path, lines: Sequence[str]) -> Iterator[Path]:
    """A file beside ``path``, for its owner alone, to be put in its place at once."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write("\n".join(lines))
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
