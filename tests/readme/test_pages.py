"""Holds README.md, ARCHITECTURE.md and docs/ to what a reader relies on.

That is: length, links, paths, code that is run, and the map of the rooms.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.home import ROOT

README = ROOT / "README.md"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
PAGES = (README, ARCHITECTURE, *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
OURS = re.compile(r"`((?:serving|monitors|guards|explain|loadtest|tests|deploy)/[^`\s]*)`")
SHORTENED = re.compile(r"`([\w/]+\.py)`")
NAMED = re.compile(r"`([\w/]+\.py)`(?:,\s+|\s+\()((?:`\w+`(?:,\s+(?:and\s+)?)?)+)")
"""A file and, behind it, names of what it defines."""
ROW = re.compile(r"^\| (?!---)(.+?) \| (.+?) \|", re.MULTILINE)
LAYERS = "layers of serving"
SOUGHT = {
    "a deadline enforced",
    "a finding made a metric",
    "a label joined",
    "a new model format added",
    "a new monitor added",
    "an HTTP status chosen",
    "a gRPC status chosen",
    "a replica chosen",
    "a version chosen",
    "what a request may ask for decided",
    "a request's context made",
    "an error made an answer",
    "a request refused for lack of room",
    "a log event declared",
    "a metric declared",
    "a configuration key declared",
    "a route declared",
}
AT_MOST = 250
"""Lines of README.md. It leads; long tables and all details stand in docs/."""

of_pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the names that GitRegistry gives to the headings of a page."""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose(page)))
    return {name.replace(" ", "-") for name in plain}


def section(heading: str) -> str:
    """Return what stands in ARCHITECTURE.md under a heading, up to the next of its level."""
    parts = ARCHITECTURE.read_text(encoding="utf-8").split(f"\n## {heading}\n")
    assert len(parts) == 2, f"ARCHITECTURE.md has not one heading '{heading}'"
    return parts[1].split("\n## ")[0]


def links(page: Path) -> Iterator[str]:
    text = re.sub(r"`[^`]*`", "", prose(page))
    return (link for link in LINK.findall(text) if not link.startswith("http"))


@of_pages
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}: there is no such file"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}: no such heading"


@of_pages
def test_paths_of_the_code_are_there(page: Path) -> None:
    for path in OURS.findall(prose(page)):
        # A module may become a package, so its name may be written without `.py`.
        found = [*ROOT.glob(path), *ROOT.glob(f"{path}.py")]
        assert found, f"{page.name} names {path}, which is not there"


@of_pages
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


@of_pages
def test_readme_is_short_and_leads_to_every_page(page: Path) -> None:
    if page == README:
        lines = len(page.read_text(encoding="utf-8").splitlines())
        assert lines <= AT_MOST, f"{lines} lines; move details to docs/"
    else:
        assert str(page.relative_to(ROOT)) in set(links(README)), "link it in README.md"


def test_architecture_names_files_in_full() -> None:
    for path in SHORTENED.findall(prose(ARCHITECTURE)):
        assert (ROOT / path).is_file(), f"{path}: write the path from the root of the repository"


def test_architecture_names_what_files_define() -> None:
    found = NAMED.findall(prose(ARCHITECTURE))
    assert found
    for path, given in found:
        source = (ROOT / path).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", given):
            defined = rf"^\s*(?:async def|def|class) {name}\b|^{name}\b.* = "
            assert re.search(defined, source, re.MULTILINE), f"{path} defines no {name}"


def test_architecture_lists_every_room() -> None:
    packages = (
        folder.parent.relative_to(ROOT).as_posix()
        for library in ("serving", "monitors", "guards", "explain")
        for folder in (ROOT / library).rglob("__init__.py")
    )
    rooms = [room.strip("`") for room, _ in ROW.findall(section("Rooms"))[1:]]
    assert sorted(rooms) == sorted(set(packages) - {"serving"})


def test_architecture_shows_the_layers_that_are_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    [checked] = [each["layers"] for each in contracts if each["name"] == LAYERS]
    [shown] = [block for kind, block in FENCE.findall(section("Rooms")) if kind == "layers"]
    assert shown.splitlines() == checked


def test_architecture_says_where_to_find_things() -> None:
    answers = dict(ROW.findall(section("Where do I find")))
    assert answers.keys() >= SOUGHT
    for sought, answer in answers.items():
        assert sought == "Where is" or OURS.search(answer), f"{sought}: name the file"
