"""`vigil bill`: what it asks for, and what it refuses to ask."""

import json
from typing import Any

import msgspec
import pytest
import typer

from serving.cli.bill import bill, read_last, read_time
from serving.control.cost.bill import Bill, ModelBill, Price
from serving.errors import VigilError

OF = ModelBill(
    "m", 2000, dict.fromkeys(("replica", "gateway", "monitor", "explainer"), 1.5), 6.0,
    {"drift": 0.25}, {"schema": 0.5}, 0.0, {"rapl": None, "nvml": 0.0},
    Price(cpu=0.5, total=0.5), 0.25,
)  # fmt: skip
NONE = msgspec.structs.replace(OF, model="", predictions=0, checks_cpu_s={}, guards_s={})
BILL = Bill(
    "2026-11-30T08:00:00Z", "2026-11-30T10:00:00Z", "2026-11-30T08:10:00Z", 6600.0,
    {"rapl": 0.0, "nvml": 0.0}, "EUR", {"cpu_second": 0.04}, [OF], NONE, ["a note"],
)  # fmt: skip
ANSWER = (200, msgspec.json.encode(BILL))


def ask(url: str, **given: Any) -> None:
    options = {"model": "", "last": None, "since": None, "output": "table", "as_json": False}
    bill(url=url, **{**options, **given})


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, "/bill"),
        ({"model": "a b/..", "last": 90.0}, "/bill?model=a+b%2F..&last=90.0"),
        ({"since": 5.5}, "/bill?since=5.5"),
    ],
)
def test_what_is_asked(instance, given: dict[str, Any], asked: str) -> None:
    answering = instance({asked: ANSWER})
    ask(answering.url, output="json", **given)
    assert [path for _, path, *_ in answering.asked] == [asked]


@pytest.mark.parametrize("given", [{"output": "json"}, {"as_json": True}])
def test_json_is_the_answer(capsys: pytest.CaptureFixture[str], instance, given: Any) -> None:
    ask(instance({"/bill": ANSWER}).url, **given)
    assert json.loads(capsys.readouterr().out) == msgspec.to_builtins(BILL)


def test_a_table_and_csv(capsys: pytest.CaptureFixture[str], instance) -> None:
    url = instance({"/bill": ANSWER}).url
    ask(url)
    assert "a note" in capsys.readouterr().out
    ask(url, output="csv")
    assert capsys.readouterr().out.startswith("since,until,model,")


def test_one_period_and_one_form(instance) -> None:
    url = instance({}).url
    with pytest.raises(typer.BadParameter, match="--last or --since"):
        ask(url, last=1.0, since=1.0)
    with pytest.raises(typer.BadParameter, match="--json or --output csv"):
        ask(url, as_json=True, output="csv")


def test_an_answer_that_is_none(instance) -> None:
    with pytest.raises(VigilError, match="is not Vigil"):
        ask(instance({"/bill": (200, b"{}")}).url)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("90m", 5400), ("1.5h", 5400), ("24h", 86400), (" 7d ", 604800), ("2w", 1209600)],
)
def test_periods_before_now(text: str, seconds: float) -> None:
    assert read_last(text) == seconds


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "1 h", "1y", "1h30m", "1e3s", "٣h"])
def test_what_is_no_period(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="such as 24h"):
        read_last(text)


def test_times() -> None:
    assert read_time("2026-01-02T03:04:05Z") == 1767323045
    assert read_time("2026-01-02T04:04:05+01:00") == 1767323045


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "1969-01-01T00:00Z", "0001-01-01"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="give a date or a time"):
        read_time(text)


def test_the_future() -> None:
    with pytest.raises(typer.BadParameter, match="in the future"):
        read_time("9000-01-01")


def test_wrong_usage_of_the_command(vigil) -> None:
    for arguments, says in (
        (("--last", "soon"), "such as 24h"),
        (("--since", "9000-01-01"), "in the future"),
        (("--output", "xml"), "xml"),
        (("--last", "1h", "--since", "2026-01-01"), "not both"),
    ):
        done = vigil("bill", *arguments)
        assert done.returncode == 2, done
        assert says in done.stderr
        assert "Traceback" not in done.stderr
