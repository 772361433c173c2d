"""The modules of a page: the URLs of packages, and which files its script imports, so that a browser asks for all of them
at once.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from posixpath import dirname, join, normpath

import orjson

# Packages, by the names that modules import.
PACKAGES = {
    "@bellwire/client": "/client/index.js",
    "htm/preact": "/vendor/htm.js",
    "icons": "/vendor/icons.js",
    "socket.io-client": "/vendor/socket.io.esm.min.js",
    "uplot": "/vendor/uplot.js",
}
ENTRY = re.compile(rb'<script type="module" src="([^"]+)"></script>')
# Of static imports alone; those of a call are made when they are needed.
IMPORT = re.compile(r'^(?:import "|(?:import|export|\}) ?[^"]*?from ")([^"]+)"', re.M)

# Finds the file of a URL, None for what is made by the server.
Find = Callable[[str], Path | None]


def page(path: Path, find: Find) -> bytes:
    """An HTML file with an import map and the modules of its script before it."""
    html = path.read_bytes()
    entry = ENTRY.search(html)
    if entry is None:
        return html
    links = "".join(f'<link rel="modulepreload" href="{url}">\n  ' for url in imported(entry[1].decode(), find))
    added = b'<script type="importmap">' + orjson.dumps({"imports": PACKAGES}) + b"</script>\n  " + links.encode()
    return html[: entry.start()] + added + html[entry.start() :]


def imported(url: str, find: Find) -> Iterator[str]:
    """The URLs of all modules that one imports, those that others import included, the nearest first."""
    known, queue = {url}, [url]
    while queue:
        here = queue.pop(0)
        path = find(here)
        if path is None or here.startswith("/vendor/"):
            continue
        for name in IMPORT.findall(path.read_text()):
            target = PACKAGES.get(name) or normpath(join(dirname(here), name))
            if target not in known:
                known.add(target)
                queue.append(target)
                yield target
