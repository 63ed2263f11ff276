"""Holds README.md and docs/ to what a reader relies on: length, links, paths, code that is run."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.home import ROOT

README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
OURS = re.compile(r"`((?:serving|monitors|guards|explain|loadtest|tests|deploy)/[^`\s]*)`")
AT_MOST = 250
"""Lines of README.md. It leads; long tables and all details stand in docs/."""

pytestmark = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives to the headings of a page."""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose(page)))
    return {name.replace(" ", "-") for name in plain}


def links(page: Path) -> Iterator[str]:
    text = re.sub(r"`[^`]*`", "", prose(page))
    return (link for link in LINK.findall(text) if not link.startswith("http"))


def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}: there is no such file"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}: no such heading"


def test_paths_of_the_code_are_there(page: Path) -> None:
    for path in OURS.findall(prose(page)):
        # A module may become a package, so its name may be written without `.py`.
        found = [*ROOT.glob(path), *ROOT.glob(f"{path}.py")]
        assert found, f"{page.name} names {path}, which is not there"


def test_python_that_is_shown_is_run(page: Path) -> None:
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    commands = "".join(block for language, block in blocks if language == "console")
    for language, block in blocks:
        if language == "python":
            name = re.match(r"# (\S+\.py)\n", block)
            assert name, f"{page.name}: the first line must name the file:\n{block}"
            assert f"$ python {name[1]}" in commands, f"{page.name} does not run {name[1]}"
        if language == "console":
            assert block.startswith("$ "), f"{page.name}: no command:\n{block}"


def test_readme_is_short_and_leads_to_every_page(page: Path) -> None:
    if page == README:
        lines = len(page.read_text(encoding="utf-8").splitlines())
        assert lines <= AT_MOST, f"{lines} lines; move details to docs/"
    else:
        assert f"docs/{page.name}" in set(links(README)), "link it in README.md"
