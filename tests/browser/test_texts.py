"""The page's words: the same in every language, and none that nothing says."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

TEXTS = Path("static/js/texts")
SOURCES = "".join(path.read_text() for path in sorted(Path("static/js").rglob("*.js")) if path.parent != TEXTS)
# Named by what a document says.
NAMED = ("grant", "transfer", "reversal", "ended", "cancelled", "expired")


@pytest.fixture(scope="module")
def languages(node: str) -> dict[str, dict[str, Any]]:
    script = "process.stdout.write(JSON.stringify((await import(process.argv[1])).default))"
    return {
        path.stem: json.loads(
            subprocess.check_output([node, "--input-type=module", "-e", script, str(path.absolute())], text=True)
        )
        for path in sorted(TEXTS.glob("*.js"))
    }


def test_every_language_has_the_same_words(languages: dict[str, dict[str, Any]]) -> None:
    assert set(languages) == {"en", "tr"}
    english = languages["en"]
    for texts in languages.values():
        assert list(texts) == list(english)
        for key, text in texts.items():
            for form in [text] if isinstance(text, str) else text.values():
                other = english[key] if isinstance(english[key], str) else english[key]["other"]
                assert form.strip() and set(re.findall(r"{\w+}", form)) == set(re.findall(r"{\w+}", other)), key


def test_every_word_is_said_and_none_is_missing(languages: dict[str, dict[str, Any]]) -> None:
    said = set(re.findall(r"""["'`](\w+)["'`]|\b(\w+):""", SOURCES))
    words = {one or other for one, other in said}
    unsaid = [key for key in languages["en"] if key not in words and key not in (*NAMED, "name", "direction")]
    # Named by the groups of Unicode's emoji, and by the modes of registration.
    assert [key for key in unsaid if not key.startswith(("emoji_", "registration_"))] == []
    asked = set(re.findall(r"""\bt\(\s*["'](\w+)["']""", SOURCES))
    assert asked - set(languages["en"]) == set()
