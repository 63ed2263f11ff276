"""docs/dependencies.md says of every package that Vigil installs what it is used for."""

import re
import tomllib

from loadtest.home import ROOT

NAME = re.compile(r"[\w.-]+")


def test_every_installed_package_has_a_row() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    needed = {NAME.match(each)[0].lower() for group in groups for each in group}
    rows = (ROOT / "docs" / "dependencies.md").read_text().splitlines()
    first = " ".join(row.split("|")[1] for row in rows if row.startswith("|")).lower()
    told = set(NAME.findall(re.sub(r"\[\w+\]", "", first)))
    assert needed - told == set()
