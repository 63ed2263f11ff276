"""`vigil predictions` over a log that holds files."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from serving.cli.command import app
from serving.cli.console import OUT
from serving.errors import InvalidInput, VigilError
from serving.log.label_rows import LabelRows
from serving.log.retention import Retention
from serving.log.store import open_store
from serving.log.writer import LogWriter

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
OLD = datetime(2026, 11, 1, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OUT, "width", 200)


@pytest.fixture
def filled(tmp_path: Path, log_request) -> Path:
    folder = tmp_path / "log"
    log_request(folder, "=HYPERLINK(1)", {"in_age": [30.0, -70.0], "out_p": [[0.5, 1.0], [0.0]]})
    log_request(folder, "old[red]", {"in_age": [float("nan")], "in_job": ["@x"]}, seconds=OLD)
    return folder


@pytest.fixture
def run(filled: Path):
    """Runs the command, and returns what it has printed."""

    def run(*arguments: str) -> str:
        command = ["predictions", "m", "--log", str(filled), *arguments]
        result = CliRunner().invoke(app, command, catch_exceptions=False, standalone_mode=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


def refused(run, *arguments: str) -> str:
    with pytest.raises(VigilError) as caught:
        run(*arguments)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_table_shows_the_newest_first(run):
    printed = run()
    assert printed.index("=HYPERLINK(1)") < printed.index("old[red]")
    assert "2026-11-01 00:00:00.000" in printed
    assert "more columns for --columns: model, date, id" in printed
    assert "old" not in run("--limit", "2")
    assert "the newest 2; --limit shows more" in run("--limit", "2")


def test_a_table_has_the_columns_that_are_asked_for(run):
    printed = run("--columns", "in_age,outcome", "--where", "in_age < 0")
    assert "-70" in printed
    assert "outcome" in printed
    assert "client_id" not in printed
    assert run("--where", "in_age < -1000") == "no prediction is like that\n"


def test_a_table_shows_scores_before_values_and_the_inputs_of_what_was_refused(
    run, filled, log_request
):
    values = {f"in_{number}": [float(number)] for number in range(12)}
    log_request(
        filled, "no", {"score_far": [7.25], "in_age": [1e30], **values}, outcome="rejected",
        decisions=["far:reject"],
    )  # fmt: skip
    head, *lines = run("--where", "outcome = 'rejected'").splitlines()[1:]
    assert "score_far" in head
    assert "7.25" in "".join(lines)
    assert "1e+30" in run("--columns", "in_age,decisions", "--where", "score_far > 1")


def test_rows_of_a_time(run):
    assert "old" not in run("--since", "2026-11-02")
    assert "HYPER" not in run("--until", "2026-11-02")
    assert "old" in run("--until", "2026-11-02")
    assert "old" in run("--last", "99999w")


def test_csv_disarms_formulas_and_says_what_it_is_told(run, tmp_path):
    file = tmp_path / "it's.csv"
    run("--out", str(file))
    rows = {
        row["index"] + row["client_id"]: row
        for row in csv.DictReader(file.read_text().splitlines())
    }
    assert rows.keys() == {"0'=HYPERLINK(1)", "1'=HYPERLINK(1)", "0old[red]"}
    assert rows["1'=HYPERLINK(1)"]["in_age"] == "-70"
    assert rows["0'=HYPERLINK(1)"]["out_p"] == "[0.5, 1.0]"
    assert rows["0old[red]"]["in_job"] == "'@x"
    assert rows["0old[red]"]["time"] == "2026-11-01T00:00:00.000000Z"
    assert len(rows["0old[red]"]["id"]) == 36
    run("--out", str(file), "--raw")
    assert {row["client_id"] for row in csv.DictReader(file.read_text().splitlines())} == {
        "=HYPERLINK(1)", "old[red]",
    }  # fmt: skip


def test_json_has_an_object_a_line(run, tmp_path):
    file = tmp_path / "rows.jsonl"
    run("--out", str(file), "--columns", "client_id,in_age,id,time")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted((line["client_id"], line["in_age"] or 0) for line in lines) == [
        ("=HYPERLINK(1)", -70), ("=HYPERLINK(1)", 30), ("old[red]", 0),
    ]  # fmt: skip
    assert [line["in_age"] for line in lines if line["client_id"] == "old[red]"] == [None]
    assert {len(line["id"]) for line in lines} == {36}


def test_labels_are_shown_and_chosen_by(run, filled, tmp_path):
    assert "label" not in run()
    assert run("--where", "label IS NOT NULL") == "no prediction is like that\n"
    writer = LogWriter(open_store(str(filled)), filled / "open", Retention(1e5, 1e5, 1e15), {})
    writer.start()
    names = ["=HYPERLINK(1)", "old[red]"]
    writer.offer_labels(LabelRows("m", "1", names, [1, 0], [NOON] * 2, [7, 4]))
    writer.offer_labels(LabelRows("m", "1", names[1:], [0], [NOON + 1], [5]))
    writer.close()
    printed = run("--where", "label > 4")
    assert printed.index("label") < printed.index("in_age")
    assert "HYPERLINK" in printed
    assert "old[red]" in printed
    for suffix in ("csv", "jsonl", "parquet"):
        file = tmp_path / f"rows.{suffix}"
        run("--out", str(file), "--where", "label = 5", "--columns", "client_id,label,label_time")
    assert (tmp_path / "rows.csv").read_text().splitlines()[1] == (
        '"old[red]",5,"2026-11-30T12:00:01.000000Z"'
    )
    assert json.loads((tmp_path / "rows.jsonl").read_text())["label"] == 5
    assert pq.read_table(tmp_path / "rows.parquet")["label"].to_pylist() == [5]


def test_parquet_has_every_column_as_it_is(run, tmp_path):
    file = tmp_path / "rows"
    run("--out", str(file), "--output", "parquet", "--where", "in_age = 30")
    [row] = pq.read_table(file).to_pylist()
    assert (row["client_id"], row["in_age"], row["out_p"]) == ("=HYPERLINK(1)", 30, [0.5, 1.0])
    assert len(row["id"]) == 16


def test_csv_goes_to_standard_output_as_a_process(filled, vigil_process):
    done = vigil_process(
        "predictions", "m", "--log", str(filled), "--output", "csv",
        "--columns", "client_id,index", "--where", "index = 1",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.replace('"', "") == "client_id,index\n'=HYPERLINK(1),1\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--where", "ages > 1"], "where: 'ages > 1' is no condition on the log's columns"),
        (["--where", "true; DROP TABLE rows"], "where: "),
        (["--where", "client_id::int > 0", "--out", "{out}"], "where: 'client_id::int > 0'"),
        (["--columns", "in_ages"], "columns: the log has no 'in_ages'; it has model, version"),
        (["--columns", ","], "--columns names none"),
        (["--last", "soon"], "--last 'soon' is no span"),
        (["--output", "parquet"], "--output parquet needs a file"),
        (["--output", "table", "--out", "x.csv"], "a table is for the terminal"),
        (["--out", "x.xlsx"], "'x.xlsx': write to a file that ends in one of"),
        (["--out", "missing/x.csv"], "'missing/x.csv' cannot be written: No such file"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(run, tmp_path, arguments, says):
    out = str(tmp_path / "x.csv")
    assert refused(run, *(each.replace("{out}", out) for each in arguments)).startswith(says)
    assert not Path(out).exists()


def test_models_that_the_log_does_not_have(filled, tmp_path):
    def ask(*arguments: str) -> None:
        CliRunner().invoke(
            app, ["predictions", *arguments], catch_exceptions=False, standalone_mode=False
        )

    with pytest.raises(VigilError, match=r"no predictions of model 'n'; it has m$"):
        ask("n", "--log", str(filled))
    with pytest.raises(VigilError, match="there is no prediction log; name"):
        ask("m", "--log", str(tmp_path / "nowhere"))
    with pytest.raises((InvalidInput, VigilError), match="cannot be used"):
        ask("m", "--log", "gopher://x/y")


def test_the_configuration_says_where_the_log_is(filled, tmp_path):
    config = tmp_path / "vigil.yaml"
    config.write_text(f"log: {{url: '{filled}'}}\n")
    result = CliRunner().invoke(app, ["predictions", "m", "--config", str(config)])
    assert result.exit_code == 0
    assert "old[red]" in result.output
