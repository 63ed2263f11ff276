import json

import pytest
import typer

from serving.cli.status import status
from serving.errors import VigilError

ROW = {"name": "a\x1b[2J", "version": "1", "state": "UNAVAILABLE", "reason": "b\nc\x07"}
READY = (200, b'{"ready": true}')


def index(*rows: object) -> tuple[int, bytes]:
    return 200, json.dumps(rows).encode()


def answers(
    readyz: tuple[int, bytes], listed: tuple[int, bytes], *members: object, unjudged: object = ()
) -> dict[str, tuple[int, bytes]]:
    told = {"ready": True, "members": members, "unjudged": unjudged}
    status = 200, json.dumps(told).encode()
    return {"/readyz": readyz, "/v2/repository/index": listed, "/status": status}


def test_what_a_terminal_would_obey_is_shown_as_escapes(
    capsys: pytest.CaptureFixture[str], instance
) -> None:
    url = instance(answers((503, b'{"error": "d\\u001b[2Je"}'), index(ROW))).url
    with pytest.raises(typer.Exit) as ended:
        status(url=url, as_json=False)
    assert ended.value.exit_code == 1
    printed = capsys.readouterr()
    assert printed.out == "a\\x1b[2J version 1: UNAVAILABLE (b\\nc\\x07)\n"
    assert printed.err == "d\\x1b[2Je\n"


def test_a_model_without_a_version_is_named_alone(
    capsys: pytest.CaptureFixture[str], instance
) -> None:
    status(url=instance(answers(READY, index({**ROW, "name": "m", "version": ""}))).url,
           as_json=False)  # fmt: skip
    assert capsys.readouterr().out == "m: UNAVAILABLE (b\\nc\\x07)\nready\n"


def test_json_holds_both(capsys: pytest.CaptureFixture[str], instance) -> None:
    status(url=instance(answers(READY, index(ROW))).url, as_json=True)
    told = {"ready": True, "reason": None, "models": [ROW], "log": [], "unjudged": []}
    assert json.loads(capsys.readouterr().out) == told
    starting = answers((503, b'{"error": "wait"}'), (503, b'{"error": "no index yet"}'))
    with pytest.raises(typer.Exit) as ended:
        status(url=instance(starting).url, as_json=True)
    assert ended.value.exit_code == 1
    told = json.loads(capsys.readouterr().out)
    assert told == {"ready": False, "reason": "wait", "models": [], "log": [], "unjudged": []}


@pytest.mark.parametrize("listed", [(200, b'{"a": 1}'), index(1), index({"name": "m"})])
def test_an_index_that_is_none(instance, listed: tuple[int, bytes]) -> None:
    with pytest.raises(VigilError, match="is not Vigil"):
        status(url=instance(answers(READY, listed)).url, as_json=False)


def test_what_the_prediction_log_has_lost_is_told(
    capsys: pytest.CaptureFixture[str], instance
) -> None:
    lost = "the prediction log has lost 2 rows"
    members = [{"status": None}, {"status": {"role": "gateway"}},
               {"status": {"role": "monitor", "log": [lost]}}]  # fmt: skip
    url = instance(answers(READY, index(), *members)).url
    status(url=url, as_json=False)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("ready\n", f"{lost}\n")
    status(url=url, as_json=True)
    assert json.loads(capsys.readouterr().out)["log"] == [lost]


def test_which_monitor_is_away_is_told(capsys: pytest.CaptureFixture[str], instance) -> None:
    away = "monitor-1 is not there, so nobody judges model 'm'"
    url = instance(answers(READY, index(), unjudged=[away])).url
    status(url=url, as_json=False)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("ready\n", f"{away}\n")
    status(url=url, as_json=True)
    assert json.loads(capsys.readouterr().out)["unjudged"] == [away]
