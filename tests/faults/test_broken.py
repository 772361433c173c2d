"""The mutants and failpoints name what they replace, so that a rename can't turn one into a server that is whole."""

import os
import subprocess
import sys

from tests.faults.broken import MUTANTS, POINTS


def test_each_replaces_what_is_there() -> None:
    """Each in a process of its own, forked from one that has imported everything."""
    code = f"import {__name__} as module; module.apply_each()"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    applied = done.stdout.split()
    assert applied == [*(f"mutant:{name}" for name in MUTANTS), *(f"kill:{name}:1" for name in POINTS)], done.stderr


def apply_each() -> None:
    """Print the names of those that can be applied."""
    from tests.faults.broken import apply

    for what in (*(f"mutant:{name}" for name in MUTANTS), *(f"kill:{name}:1" for name in POINTS)):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            apply(what)
            os._exit(0)
        if os.waitpid(pid, 0)[1] == 0:
            print(what)
