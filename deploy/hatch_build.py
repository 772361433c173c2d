"""The browser code of the wheel: what pages load of the packages that npm installs, if npm is there."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = (
    "@iconify-json/lucide/icons.json",
    "htm/preact/standalone.module.js",
    "htm/LICENSE",
    "socket.io-client/dist/socket.io.esm.min.js",
    "socket.io-client/LICENSE",
    "unicode-emoji-json/data-by-group.json",
    "unicode-emoji-json/LICENSE",
    "uplot/dist/uPlot.esm.js",
    "uplot/dist/uPlot.min.css",
    "uplot/LICENSE",
    "swagger-ui-dist/swagger-ui.css",
    "swagger-ui-dist/swagger-ui-bundle.js",
    "swagger-ui-dist/LICENSE",
)


class BrowserCode(BuildHookInterface):  # type: ignore[type-arg]
    """Without it the server serves everything but its pages, and these say how to get them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        static = Path(self.root) / "static"
        packages = static / "node_modules"
        if not all((packages / name).exists() for name in FILES):
            self._install(static)
        for name in FILES:
            if (packages / name).exists():
                build_data["force_include"][str(packages / name)] = f"static/node_modules/{name}"

    def _install(self, static: Path) -> None:
        npm = shutil.which("npm")
        if npm is None:
            self.app.display_warning("npm is not installed: the package serves the API without its pages")
            return
        done = subprocess.run([npm, "ci", "--no-progress", "--loglevel=error"], cwd=static, check=False)
        if done.returncode:
            self.app.display_warning("npm ci failed: the package serves the API without its pages")
