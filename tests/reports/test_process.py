"""What the process tells whoever started it: a page, or one sentence and what kind it is."""

from __future__ import annotations

import pytest

from serving.errors import Unsupported, VigilError
from serving.monitoring.reports.job import NEVER, NOTHING, QUOTES, write_job
from serving.reports import process
from serving.reports.making import NothingToReport


@pytest.fixture
def folder(tmp_path, make_job, monkeypatch):
    monkeypatch.setattr("signal.alarm", lambda seconds: None)
    made = tmp_path / "folder"
    made.mkdir()
    write_job(made, make_job("performance"), {})
    return made


def test_the_page_is_left_in_the_folder(folder, monkeypatch):
    monkeypatch.setattr(process, "make", lambda job, recent: job.kind.encode())
    assert process.main([str(folder)]) == 0
    assert (folder / "report").read_bytes() == b"performance"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (NothingToReport("no rows"), NOTHING, "no rows\n"),
        (Unsupported("no labels ever"), NEVER, "no labels ever\n"),
        (VigilError("no file"), 1, "no file\n"),
        (
            ZeroDivisionError("of\n  two lines"),
            QUOTES,
            "the report failed: ZeroDivisionError: of two",
        ),
    ],
)
def test_a_failure_is_one_sentence(folder, monkeypatch, capsys, error, code, said):
    def fails(job, recent):
        raise error

    monkeypatch.setattr(process, "make", fails)
    assert process.main([str(folder)]) == code
    told = capsys.readouterr().err
    assert told.startswith(said)
    assert told.count("\n") == 1
    assert not (folder / "report").exists()
