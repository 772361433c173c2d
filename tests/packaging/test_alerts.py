"""The alert rules of Prometheus: they are of the right form, and name metrics and labels that there are."""

import re
from pathlib import Path
from typing import Any

import yaml

RULES: list[dict[str, Any]] = yaml.safe_load(Path("deploy/alerts.yml").read_text())["groups"][0]["rules"]
METRICS = Path("docs/metrics.md").read_text()
# Of Prometheus itself.
ELSEWHERE = {"up", "instance", "job"}


def documented() -> dict[str, set[str]]:
    """By metric its labels."""
    rows = re.findall(r"^\| `(bellwire_\w+)` \| (.*?) \|", METRICS, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def test_rules_name_metrics_that_there_are() -> None:
    known = documented()
    assert len(RULES) > 10
    for rule in RULES:
        named = re.findall(r"\b(bellwire_\w+|up)\b(?:\{(.*?)\})?", rule["expr"])
        assert named, rule
        labels = set().union(*(known.get(metric, ELSEWHERE) for metric, _ in named)) | ELSEWHERE
        for metric, selector in named:
            assert metric in {*known, *ELSEWHERE}, metric
            assert set(re.findall(r"(\w+)\s*[=!]", selector)) <= labels, rule
        grouped = re.findall(r"by \((.*?)\)", rule["expr"])
        used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        shown = {each.strip() for text in grouped for each in text.split(",")} or labels
        assert used <= shown, rule


def test_rules_are_complete() -> None:
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"Bellwire\w+", rule["alert"])
        assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert set(rule["annotations"]) == {"summary", "description"}
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_what_is_recommended_has_a_rule() -> None:
    """But for /readyz, which is asked from outside."""
    recommended = set(re.findall(r"bellwire_\w+", METRICS.split("## Recommended alerts")[1]))
    assert recommended <= set(re.findall(r"bellwire_\w+", str(RULES)))
