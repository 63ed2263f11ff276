import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from serving.cli import console, labels
from serving.cli.client import Client
from serving.cli.label_push import LabelPush
from serving.cli.labels import push
from serving.cli.target import Target
from serving.errors import VigilError

PATH = "/v2/models/m/labels"
COUNTS = {"accepted": 1, "duplicate": 20, "unknown": 3, "late": 4}
ANSWER = (200, json.dumps(COUNTS).encode())
TOLD = """\
2 labels pushed
   1 accepted  new, or different from before
  20 duplicate known already
   3 unknown   no such prediction yet: they wait for it for an hour
   4 late      the prediction is no longer kept
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("id,y_true\na,1\nb,0\n")
    return path


def test_it_says_what_became_of_the_labels(vigil, instance, file: Path) -> None:
    started = instance({PATH: ANSWER})
    done = vigil("labels", "push", "m", str(file), "--url", started.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, TOLD, "")
    ((method, _, headers, body),) = started.asked
    assert (method, headers["content-type"]) == ("POST", "application/json")
    assert json.loads(body) == {"labels": [{"id": "a", "y_true": 1}, {"id": "b", "y_true": 0}]}


def test_json_is_for_programs(vigil, instance, file: Path) -> None:
    url = instance({PATH: ANSWER}).url
    done = vigil("labels", "push", "m", str(file), "--url", url, "--json")
    assert json.loads(done.stdout) == {"rows": 2, **COUNTS, "last_row": 2, "sent_again": 0}


def test_it_says_that_an_answer_was_lost(monkeypatch, capsys) -> None:
    pushing = LabelPush(Client("http://127.0.0.1:1"), "m")
    pushing.rows, pushing.sent_again = 5, 3
    monkeypatch.setattr(labels, "say", print)
    labels._tell(pushing, Target("http://127.0.0.1:1", False))
    assert (
        "\n3 of them were sent again, because an answer was lost: those" in capsys.readouterr().out
    )


def test_standard_input_and_every_option(instance) -> None:
    started = instance({PATH: ANSWER})
    options = ["--id-column", "i", "--label-column", "y", "--text", "--skip", "1", "--quiet"]
    options += ["--url", started.url]
    done = subprocess.run(
        [sys.executable, "-m", "serving.cli", "labels", "push", "m", "-", *options],
        input='{"i": "a", "y": 1}\n{"i": "b", "y": 0}\n',
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(started.asked[0][3]) == {"labels": [{"id": "b", "y_true": "0"}]}


def test_a_wrong_row_is_exit_code_2_and_the_rest_is_pushed(vigil, instance, file: Path) -> None:
    file.write_text("id,y_true\na,1\nb,0\nc,\n")
    started = instance({PATH: ANSWER})
    done = vigil("labels", "push", "m", str(file), "--url", started.url)
    assert (done.returncode, done.stdout) == (2, TOLD)
    assert done.stderr == (
        f"vigil: {file}, row 3 (line 4): column 'y_true' is empty; write the label there, or leave "
        f"the row out; the labels of {file} up to row 2 are pushed, and --skip 2 goes on after it\n"
    )


def test_skipping_beyond_the_end_is_exit_code_2(vigil, instance, file: Path) -> None:
    started = instance({})
    done = vigil("labels", "push", "m", str(file), "--url", started.url, "--skip", "3")
    assert done.returncode == 2
    assert "has 2 rows, fewer than --skip 3 leaves out" in done.stderr
    assert done.stderr.endswith("; no label was pushed\n")
    assert not started.asked


def test_a_file_that_is_not_there_is_exit_code_2(vigil, tmp_path: Path) -> None:
    done = vigil("labels", "push", "m", str(tmp_path / "none.csv"))
    said = f"vigil: {tmp_path}/none.csv: No such file or directory\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_a_refusal_is_exit_code_1(vigil, instance, file: Path) -> None:
    url = instance({PATH: (404, b'{"error": "no such model"}')}).url
    done = vigil("labels", "push", "m", str(file), "--url", url)
    assert done.returncode == 1
    assert done.stdout.startswith("0 labels pushed\n")
    assert done.stderr == "vigil: no such model; no label was pushed\n"


def call(url: str, file: Path, **more: Any) -> None:
    given = {"id_column": "id", "label_column": "y_true", "text": False, "skip": 0, "quiet": False}
    push(url=url, as_json=False, model="m", file=str(file), **given | more)


def test_a_row_that_is_refused_is_named(instance, file: Path) -> None:
    url = instance({PATH: (400, b'{"error": "labels: no such class"}')}).url
    with pytest.raises(VigilError) as raised:
        call(url, file)
    assert raised.value.message == (
        f"{file}, row 1 (line 2): labels: no such class; no label was pushed"
    )


def test_who_interrupts_learns_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, instance, file: Path
) -> None:
    file.write_text("id,y_true\n" + "a,1\n" * 1500)
    ask, asked = Client.post, []

    def interrupted(self: Client, *path: str, **more: Any) -> Any:
        asked.append(path)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(self, *path, **more)

    monkeypatch.setattr(Client, "post", interrupted)
    with pytest.raises(VigilError) as raised:
        call(instance({PATH: ANSWER}).url, file, skip=2)
    assert raised.value.message == (
        f"interrupted; the labels of {file} up to row 1002 are pushed, "
        "and --skip 1002 goes on after it"
    )


@pytest.mark.parametrize(("quiet", "shown"), [(False, True), (True, False)])
@pytest.mark.parametrize("suffix", [".csv", "-"])
def test_a_terminal_sees_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, instance, file: Path, quiet: bool, shown: bool, suffix: str
) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr(console, "ERR", screen)
    monkeypatch.setattr(labels, "ERR", screen)
    if suffix == "-":  # of unknown length
        lines = io.TextIOWrapper(io.BytesIO(b'{"id": "a", "y_true": 1}\n'))
        monkeypatch.setattr(sys, "stdin", lines)
    call(instance({PATH: ANSWER}).url, Path("-") if suffix == "-" else file, quiet=quiet)
    assert ("labels" in screen.file.getvalue()) is shown
    assert shown or not screen.file.getvalue()


def test_wrong_usage_is_told_apart(instance, file: Path) -> None:
    file.write_text("id\na\n")
    with pytest.raises(SystemExit) as ended:
        labels.app(["push", "m", str(file), "--skip", "-1"])
    assert ended.value.code == 2


WANTED = {
    "version": "1",
    "pool": 9,
    "rows": [
        {"id": "a", "index": 0, "propensity": 0.5, "at_random": True},
        {"id": "b,c", "index": 2, "propensity": 0.25, "at_random": False},
    ],
}
ORDERED = {PATH + "/wanted": (200, json.dumps(WANTED).encode())}


def test_wanted_rows_are_a_file_to_be_filled_in(vigil, instance, tmp_path: Path) -> None:
    started, out = instance(ORDERED), tmp_path / "order.csv"
    asked = ("labels", "wanted", "m", "--rows", "2", "--out", str(out), "--url", started.url)
    done = vigil(*asked)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 of 9 rows of version 1 are wanted: 1 drawn at random" in done.stdout
    assert json.loads(started.asked[0][3]) == {"rows": 2}
    assert out.read_text().splitlines() == [
        "id,index,y_true,propensity,at_random", "a,0,,0.5,true", '"b,c",2,,0.25,false',
    ]  # fmt: skip
    again = vigil(*asked)
    assert again.returncode == 1
    assert f"{out}: is there already; name another file with --out" in again.stderr.replace(
        "\n", " "
    )
    assert len(started.asked) == 1


def test_wanted_rows_are_printed_without_a_file(vigil, instance) -> None:
    url = instance(ORDERED).url
    assert "\na,0,0.5\n" in vigil("labels", "wanted", "m", "--url", url).stdout
    told = vigil("labels", "wanted", "m", "--url", url, "--json").stdout
    assert json.loads(told) == WANTED
    nothing = {PATH + "/wanted": (200, json.dumps({**WANTED, "rows": []}).encode())}
    done = vigil("labels", "wanted", "m", "--url", instance(nothing).url)
    assert done.stdout.startswith("no row of version 1 waits for a label")
