"""``deploy/release.py`` as a module: it is a script of no package."""

import importlib.util
from pathlib import Path
from types import ModuleType


def load_release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", Path("deploy/release.py").absolute())
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
