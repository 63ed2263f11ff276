import json
from dataclasses import asdict
from pathlib import Path

import pytest

from loadtest import readme
from loadtest.load import Measurement
from loadtest.ratios import CONTROL, Sample, summarize

FACTS = {
    "date": "2026-01-02", "processor": "P", "cores": 2, "memory_gib": 8.0, "rounds": 1,
    "seconds_per_round": 4, "commit": "abc",
}  # fmt: skip
RATES = {"triton-eager": 10_000, "triton-delay": 20_000, "vigil-local-on": 30_000, CONTROL: 9_000}


def write(folder: Path, name: str, load: str, rates: dict[str, int] = RATES) -> None:
    samples = [
        Sample("main", load, 0, key, Measurement(rate, rate / 1e5, 2.0, generator_cpu=0.25))
        for key, rate in rates.items()
    ]
    summaries = [asdict(s) for s in summarize(samples, ("triton-eager", "triton-delay"))]
    race = {"facts": FACTS, "labels": {"triton-eager": "Triton"}, "summaries": summaries}
    (folder / f"{name}.json").write_text(json.dumps(race))


def row(table: str, label: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {label} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


class TestTables:
    def test_what_has_no_result_says_so(self, tmp_path):
        results = readme.read(tmp_path)
        not_yet = readme.NOT_YET
        headline = readme.headline(results)
        assert row(headline, "JSON, 64 connections") == [not_yet] * 4
        assert row(headline, "gRPC, 1 call at a time, p50") == [not_yet, "-", not_yet, not_yet]
        assert readme.everything(results) == f"{not_yet}\n"

    def test_ratios_are_to_the_better_setting_of_triton(self, tmp_path):
        write(tmp_path, "race", "json-64-unique")
        cells = row(readme.headline(readme.read(tmp_path)), "JSON, 64 connections")
        not_yet = readme.NOT_YET
        assert cells == ["20.0 k/s", not_yet, not_yet, "30.0 k/s, 1.50 (1.50-1.50)"]

    def test_one_connection_tells_its_median(self, tmp_path):
        write(tmp_path, "race", "json-1-unique")
        cells = row(readme.headline(readme.read(tmp_path)), "JSON, 1 connection, p50")
        assert (cells[0], cells[3]) == ("0.20 ms", "0.30 ms")

    def test_unique_and_identical_requests_are_not_mixed(self, tmp_path):
        write(tmp_path, "race", "json-64")
        results = readme.read(tmp_path)
        assert row(readme.headline(results), "JSON, 64 connections")[0] == readme.NOT_YET
        assert row(readme.identical(results), "JSON, 64 connections")[0] == "20.0 k/s"

    def test_the_newer_race_counts(self, tmp_path):
        write(tmp_path, "local-vs-triton", "json-64", {"triton-eager": 1000})
        write(tmp_path, "race", "json-64")
        assert row(readme.identical(readme.read(tmp_path)), "JSON, 64 connections")[0] == "20.0 k/s"

    def test_a_void_round_is_no_figure(self, tmp_path):
        samples = [Sample("main", "json-64", 0, "triton-eager", Measurement(0, 0, 0, ("lost",)))]
        summaries = [asdict(s) for s in summarize(samples, ("triton-eager",))]
        race = {"facts": FACTS, "labels": {}, "summaries": summaries}
        (tmp_path / "race.json").write_text(json.dumps(race))
        results = readme.read(tmp_path)
        assert row(readme.identical(results), "JSON, 64 connections") == [readme.NOT_YET] * 3
        assert "invalid" in readme.everything(results)

    def test_where_the_figures_are_from_is_told(self, tmp_path):
        write(tmp_path, "race", "json-64-unique")
        said = readme.headline(readme.read(tmp_path))
        assert "race.md): 2026-01-02, 2 cores (P), 8.0 GiB, 1 rounds of 4 s, commit abc." in said

    def test_the_range_of_equals_is_told_for_the_loads_of_the_table(self, tmp_path):
        write(tmp_path, "local-vs-triton", "json-64-unique", RATES | {CONTROL: 12_500})
        write(tmp_path, "race", "json-64")
        results = readme.read(tmp_path)
        assert "twice): 1.25-1.25 of itself." in readme.headline(results)
        assert "twice): 0.90-1.25 of itself." in readme.everything(results)

    def test_without_a_control_no_range_is_told(self, tmp_path):
        write(tmp_path, "race", "json-64-unique", {"triton-eager": 10_000})
        assert "A/A control" not in readme.headline(readme.read(tmp_path))


class TestMarkers:
    def test_only_what_is_between_them_is_replaced(self):
        text = "a\n<!-- speed: x -->\nold\n<!-- end -->\nb\n"
        assert readme.replaced(text, "x", "new\n") == text.replace("old", "new")

    @pytest.mark.parametrize("times", [0, 2])
    def test_they_must_be_there_once(self, times):
        with pytest.raises(ValueError, match="there must be one"):
            readme.replaced("<!-- speed: x -->\n<!-- end -->\n" * times, "x", "new\n")


def test_the_documents_show_what_is_on_record(capsys):
    assert readme.main(["--check"]) == 0, capsys.readouterr().out
