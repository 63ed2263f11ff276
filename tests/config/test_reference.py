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


def test_only_what_is_between_the_markers_is_replaced() -> None:
    text = f"a\n{reference.BEGIN}\nstale text\n{reference.END}\nb\n"
    made = reference.replaced(text)
    assert made.startswith(f"a\n{reference.BEGIN}\n## The server")
    assert made.endswith(f"{reference.END}\nb\n")
    assert "stale text" not in made


@pytest.mark.parametrize("text", ["", reference.BEGIN, reference.END])
def test_both_markers_must_be_there(text: str) -> None:
    with pytest.raises(ValueError, match="needs the markers"):
        reference.replaced(text)


def test_the_page_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--check"]) == 0, capsys.readouterr().err


def test_a_stale_page_is_told_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "configuration.md"
    page.write_text(f"{reference.BEGIN}\nstale text\n{reference.END}\n")
    monkeypatch.setattr(reference, "DOCUMENT", page)
    assert reference.main(["--check"]) == 1
    assert "stale text" in page.read_text()
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
