import shutil
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from serving.config import reference


class Inner(BaseModel):
    """A section. Its second sentence is left out."""

    low: float | None = Field(None, gt=0, description="One.")


class Toy(BaseModel):
    parts: list[Inner] = Field([], description="Several.")
    inner: Inner = Field(default_factory=Inner, description="One of them.")
    needed: bool = Field(description="Must be there.")


def test_keys_of_sections_and_lists_are_nested() -> None:
    assert list(reference.rows(Toy)) == [
        ("parts[]", "list of sections", "empty", "Several."),
        ("parts[].low", "number or none, > 0", "none", "One."),
        ("inner", "section", "as below", "One of them."),
        ("inner.low", "number or none, > 0", "none", "One."),
        ("needed", "`true` or `false`", "required", "Must be there."),
    ]


@pytest.mark.parametrize("page", reference.WRITTEN)
def test_only_what_is_between_the_markers_is_replaced(page: str) -> None:
    parts = [reference.markers(name) for name in reference.WRITTEN[page]]
    text = "\n".join(["a", *(f"{begin}\nstale text\n{end}\nb" for begin, end in parts), "c\n"])
    made = reference.replaced(page, text)
    assert made.startswith(f"a\n{parts[0][0]}\n")
    assert made.endswith(f"{parts[-1][1]}\nb\nc\n")
    assert "stale text" not in made
    for write in reference.WRITTEN[page].values():
        assert write() in made


@pytest.mark.parametrize("text", ["", *reference.markers("config")])
def test_both_markers_must_be_there(text: str) -> None:
    with pytest.raises(ValueError, match=r"docs/configuration\.md needs the markers"):
        reference.replaced("configuration.md", text)


def test_the_pages_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("page", reference.WRITTEN)
def test_a_stale_page_is_told_and_written_anew(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(reference.DOCS, tmp_path / "docs")
    monkeypatch.setattr(reference, "DOCS", tmp_path / "docs")
    stale = tmp_path / "docs" / page
    begin, _end = reference.markers(next(iter(reference.WRITTEN[page])))
    stale.write_text(stale.read_text().replace(begin, f"{begin}\nstale text"))
    assert reference.main(["--check"]) == 1
    assert capsys.readouterr().err.startswith(f"docs/{page}: out of date")
    assert "stale text" in stale.read_text()
    assert reference.main([]) == 0
    assert "stale text" not in stale.read_text()
    assert reference.main(["--check"]) == 0
