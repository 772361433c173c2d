"""The page of all settings: it is the one that the code makes, it has each of them once, and its examples are accepted."""

from pathlib import Path

import pytest

from server import configuration
from server.settings import LIMIT_PREFIX, Settings


def test_the_page_is_the_newest() -> None:
    text = "run: python -m server.configuration > docs/configuration.md"
    assert Path("docs/configuration.md").read_text() == configuration.page(), text


def test_every_setting_is_in_one_group() -> None:
    listed = [name for names in configuration.GROUPS.values() for name in names]
    assert len(listed) == len(set(listed))
    assert set(listed) == {name for name in Settings.model_fields if not name.startswith(LIMIT_PREFIX)}
    assert set(configuration.EXAMPLES) <= set(listed)


@pytest.mark.parametrize("name", sorted(configuration.EXAMPLES))
def test_an_example_is_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it needs beside it."""
    beside = {
        "host": ("public_url",), "workers": ("redis_url", "database_url"), "redis_url": ("database_url",),
        "jwks_url": ("jwt_audience",), "jwt_other_secrets": ("jwt_secret",),
    }  # fmt: skip
    for each in (name, *beside.get(name, ())):
        monkeypatch.setenv(f"BELLWIRE_{each.upper()}", configuration.EXAMPLES[each])
    if "path" in configuration.type_of(Settings.model_fields[name].annotation) and name != "data_dir":
        with pytest.raises(ValueError, match="No such file"):
            Settings(_env_file=None)
    else:
        settings = Settings(_env_file=None)
        assert getattr(settings, name) not in (None, "", [])
