"""The tests, and the programs beside them: ``python -m tests.load`` and others."""

import sys

try:
    import aiohttp  # noqa: F401
    import pytest  # noqa: F401
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is not installed for this Python: run `make install`, then .venv/bin/python -m …")
