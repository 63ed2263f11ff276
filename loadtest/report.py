"""Results as a table on the terminal, as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest.ratios import CONTROL, Ratio, Summary

_COLUMNS = (
    "contender",
    "req/s",
    "p50 ms",
    "p99 ms",
    "to Triton's better",
    "to Vigil local off",
    "generator cpu",
    "rounds",
)


def show(console: Console, summaries: Sequence[Summary], labels: Mapping[str, str]) -> None:
    """Print one table for each section and load."""
    for (section, load), group in _groups(summaries).items():
        table = Table(title=f"{load}  ({section})", title_justify="left")
        for index, column in enumerate(_COLUMNS):
            table.add_column(column, justify="left" if index == 0 else "right")
        for summary in group:
            style = "red" if summary.problems else None
            table.add_row(*_cells(summary, group, labels), style=style)
        console.print(table)
        for summary in group:
            for problem in summary.problems:
                console.print(f"[red]INVALID[/red] {summary.key}, {load}: {escape(problem)}")


def write(
    folder: Path, name: str, facts: Mapping[str, Any], summaries: Sequence[Summary],
    samples: Sequence[Any], labels: Mapping[str, str],
) -> None:  # fmt: skip
    """Write `<name>.json` (every sample) and `<name>.md` (the medians) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "facts": facts,
        "labels": dict(labels),
        "summaries": [asdict(summary) for summary in summaries],
        "samples": [asdict(sample) for sample in samples],
    }
    (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    (folder / f"{name}.md").write_text(_markdown(name, facts, summaries, labels))


def _markdown(
    name: str, facts: Mapping[str, Any], summaries: Sequence[Summary], labels: Mapping[str, str]
) -> str:
    lines = [f"# {name}", "", "## Machine and run", ""]
    lines += [f"- {key.replace('_', ' ')}: {_plain(value)}" for key, value in facts.items()]
    lines += ["", "Ratios are made in each round; the median is given, then smallest to largest."]
    lines += ["`unique`: no two requests alike. Generator cpu: how much of a core it used."]
    for (section, load), group in _groups(summaries).items():
        lines += ["", f"## {load} ({section})", "", "| " + " | ".join(_COLUMNS) + " |"]
        lines += ["|---|" + "---:|" * (len(_COLUMNS) - 1)]
        lines += ["| " + " | ".join(_cells(summary, group, labels)) + " |" for summary in group]
        lines += [f"\nInvalid: {s.key}: {problem}" for s in group for problem in s.problems]
    return "\n".join(lines) + "\n"


def _groups(summaries: Sequence[Summary]) -> dict[tuple[str, str], list[Summary]]:
    groups: dict[tuple[str, str], list[Summary]] = {}
    for summary in summaries:
        groups.setdefault((summary.section, summary.load), []).append(summary)
    return groups


def _cells(summary: Summary, group: Sequence[Summary], labels: Mapping[str, str]) -> list[str]:
    label = labels.get(summary.key, summary.key)
    if summary.key == CONTROL:
        label = f"A/A control: {labels.get(group[0].key, group[0].key)} again, to itself"
    if summary.requests_per_s is None or summary.p50_ms is None or summary.p99_ms is None:
        return [label, "invalid", "", "", "", "", "", "0"]
    return [
        label,
        f"{summary.requests_per_s:,.0f}",
        f"{summary.p50_ms:.2f}",
        f"{summary.p99_ms:.2f}",
        _ratio(summary.ratio),
        _ratio(summary.to_baseline),
        f"{summary.generator_cpu:.2f}" if summary.generator_cpu is not None else "-",
        str(summary.valid_rounds),
    ]


def _ratio(ratio: Ratio | None) -> str:
    return f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})" if ratio else "-"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items()) or "none"
    return str(value)
