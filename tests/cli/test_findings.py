import json
from typing import Any

import pytest

from serving.cli.console import OUT
from serving.cli.findings import findings
from serving.errors import VigilError

PATH = "/v2/models/m/findings"
FINE = {
    "version": "1", "monitor": "drift", "metric": "p_value", "subject": "sex=[bold]\x1b[2J",
    "value": 0.25, "threshold": 0.001, "p_value": 0.25, "n_current": 400, "age_s": 600.0,
    "breached": False, "reason": None,
}  # fmt: skip
UNKNOWN = FINE | {
    "subject": "x", "value": None, "threshold": None, "p_value": None, "age_s": 1.0,
    "breached": None, "reason": "[too] few rows",
}  # fmt: skip
SLICE = FINE | {"subject": "age", "segment": "income > 3"}
BREACHED = FINE | {"subject": "y", "breached": True}


def body(*rows: dict[str, Any], notes: tuple[str, ...] = ()) -> tuple[int, bytes]:
    return 200, json.dumps({"findings": rows, "notes": notes}).encode()


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OUT, "width", 200)  # `COLUMNS` counts only when it is made


def test_every_finding_is_a_row_and_nothing_in_it_is_markup(
    capsys: pytest.CaptureFixture[str], instance
) -> None:
    url = instance({PATH: body(FINE, UNKNOWN, BREACHED, SLICE, notes=("a\x1bb",))}).url
    findings(url=url, as_json=False, model="m")
    printed = capsys.readouterr().out
    assert "sex=[bold]\\x1b[2J" in printed
    assert "unknown: [too] few rows" in printed
    assert "10 min" in printed
    assert "age where income > 3" in printed
    assert "< 2 min" in printed
    assert [word in printed for word in ("fine", "breached")] == [True, True]
    assert printed.endswith("a\\x1bb\n")


def test_no_table_is_shown_of_nothing(capsys: pytest.CaptureFixture[str], instance) -> None:
    url = instance({PATH: body(notes=("drift: no verdict yet",))}).url
    findings(url=url, as_json=False, model="m")
    assert capsys.readouterr().out == "drift: no verdict yet\n"


def test_json_is_the_answer_as_it_came(capsys: pytest.CaptureFixture[str], instance) -> None:
    more = FINE | {"window": [0, 1]}
    findings(url=instance({PATH: body(more)}).url, as_json=True, model="m")
    assert json.loads(capsys.readouterr().out) == {"findings": [more], "notes": []}


@pytest.mark.parametrize(
    "content", [b"[]", b'{"findings": []}', b'{"findings": [{}], "notes": []}']
)
def test_other_json_is_not_findings(instance, content: bytes) -> None:
    url = instance({PATH: (200, content)}).url
    with pytest.raises(VigilError, match="is not Vigil"):
        findings(url=url, as_json=False, model="m")


def test_a_new_reference_is_begun_through_the_admin_listener(
    capsys: pytest.CaptureFixture[str], instance
) -> None:
    admin = instance({"/models/m/reset-reference": (200, b'{"drift": "begun anew"}')})
    given = {"url": "http://127.0.0.1:1", "model": "m", "reset_reference": True}
    findings(**given, admin_url=admin.url, as_json=False)
    assert capsys.readouterr().out == "drift of model 'm': begun anew\n"
    findings(**given, admin_url=admin.url, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"drift": "begun anew"}
    assert admin.asked[0][0] == "POST"
