"""How Sphinx makes the documentation site of these pages: https://www.sphinx-doc.org/en/master/usage/configuration.html

``make docs`` writes it into ``static/guide``, which the server shows at ``/docs/guide``.
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from server.openapi import VERSION  # noqa: E402

project = "Bellwire"
author = "the Bellwire contributors"
copyright = "2026, the Bellwire contributors"
version = release = VERSION

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
# Files beside the pages that a page includes, as links name them.
INCLUDED = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "clients/js/README.md": "javascript-client.md",
    "clients/python/README.md": "python-client.md",
    "README.md#project-layout": "architecture.md",
    "README.md": "index.md",
}
exclude_patterns = ["screenshots"]

html_theme = "furo"
html_title = f"Bellwire {VERSION}"
html_favicon = "../static/images/logo.svg"
html_copy_source = False
html_show_sphinx = False
# Nothing is loaded from other servers.
html_static_path = ["_static"]
html_css_files = ["bellwire.css"]
html_theme_options = {"footer_icons": [], "source_repository": ""}


def rewrite_links(app: object, name: str, source: list[str]) -> None:
    """Let links to files that pages include lead to those pages."""
    for path, page in INCLUDED.items():
        source[0] = source[0].replace(f"](../{path})", f"]({page})")


def rewrite_included_links(app: object, relative: Path, parent: str, content: list[str]) -> None:
    """The same in an included file, whose links begin at its own folder or at the root."""
    text = re.sub(r"\]\((?:\.\./\.\./|\.\./)?docs/", "](", content[0])
    for path, page in INCLUDED.items():
        text = re.sub(rf"\]\((?:\.\./\.\./|\.\./)?{re.escape(path)}\)", f"]({page})", text)
    content[0] = text


def setup(app: object) -> None:
    app.connect("source-read", rewrite_links)  # type: ignore[attr-defined]
    app.connect("include-read", rewrite_included_links)  # type: ignore[attr-defined]
