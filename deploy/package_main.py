"""The command ``bellwire`` of the installed package.

The modules of Bellwire have short names such as ``server``. In the package they are inside ``bellwire``, so that they take no
names of other packages; this makes them importable, in this process alone. ``bellwire -m MODULE`` runs one of them.
"""

import runpy
import sys
from pathlib import Path


def main() -> int | None:
    sys.path.insert(0, str(Path(__file__).parent))
    if sys.argv[1:2] == ["-m"]:
        sys.argv = sys.argv[2:] or sys.exit("usage: bellwire -m MODULE [ARGUMENT ...]")
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        return None
    import run

    return run.main()


if __name__ == "__main__":
    sys.exit(main())
