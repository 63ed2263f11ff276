"""The tables of formats in docs/models.md, written from the list so that they cannot be wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serving.config.explainers import listed as methods
from serving.config.formats import listed
from serving.config.formats.descriptor import FormatDescriptor


def formats_table() -> str:
    """Return what each format holds, runs and gives, as a Markdown table."""
    head = ("`format`", "The version's folder holds", "Code", "Guards on features", "Explained by")
    return _table(head, (_about(each) for each in listed.FORMATS))


def signatures_table() -> str:
    """Return which inputs and outputs the formats tell whose files do, as a Markdown table."""
    told = (each for each in listed.FORMATS if each.signature)
    rows = ((f"`{each.name}`", each.guide.inputs, each.guide.outputs) for each in told)
    return _table(("`format`", "Inputs", "Outputs"), rows)


def _about(kind: FormatDescriptor) -> Sequence[str]:
    by = [
        f"`{each.name}`"
        for each in methods.EXPLAINERS
        if kind.has_gradients or not each.needs_gradients
    ]
    guide = kind.guide
    return f"`{kind.name}`", guide.holds, guide.code, guide.features, ", ".join(by)


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
