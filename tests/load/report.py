"""The figures of a load test as a page with plots."""

import html
from pathlib import Path
from typing import Any

import pygal
from pygal.style import LightSolarizedStyle

PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}}td{{padding:.2rem 1rem .2rem 0}}</style>
<h1>{title}</h1><table>{rows}</table>{plots}"""


def plot(title: str, seconds: list[int], values: list[float]) -> str:
    chart = pygal.Line(
        title=title, style=LightSolarizedStyle, height=300, show_legend=False, js=[], x_labels_major_count=10,
        show_minor_x_labels=False, dots_size=2,
    )  # fmt: skip
    chart.x_labels = list(map(str, seconds))
    chart.add(title, values)
    return str(chart.render(is_unicode=True, disable_xml_declaration=True))


def write(path: Path, title: str, figures: dict[str, Any]) -> None:
    timeline = figures.get("timeline") or []
    seconds = [each["second"] for each in timeline]
    plots = [
        plot(name, seconds, [each[key] for each in timeline])
        for name, key in (("a second", "count"), ("p99, ms", "p99_ms"))
        if timeline
    ]
    rows = [
        f"<tr><td>{html.escape(name)}<td>{html.escape(str(value))}"
        for name, value in figures.items()
        if name != "timeline"
    ]
    path.write_text(PAGE.format(title=html.escape(title), rows="".join(rows), plots="".join(plots)))
