"""The mutants and failpoints name what they replace, so that a rename can't turn one into a server that is whole."""

import subprocess
import sys

import pytest

from tests.faults.broken import MUTANTS, POINTS


@pytest.mark.parametrize("what", [*(f"mutant:{name}" for name in MUTANTS), *(f"kill:{name}:1" for name in POINTS)])
def test_it_replaces_what_is_there(what: str) -> None:
    code = f"from tests.faults.broken import apply; apply({what!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
