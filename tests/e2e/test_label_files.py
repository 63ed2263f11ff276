"""`vigil labels push` against a server that runs, from every format that it reads."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.e2e
ROWS = 50
REQUESTS = 60
SOME = 30
"""How many duplicates, corrections and unknown ids there are each."""


@pytest.fixture(scope="module")
def monitored(
    running: Callable[..., Any],
    make_lab: Callable[..., Path],
    eventually: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """Serves `lab` with its monitors."""
    models = make_lab()
    config = models / "lab" / "model.yaml"
    monitors = "{drift: {reference: live}, performance: {metric: accuracy}}"
    config.write_text(config.read_text().replace("{drift: null}", monitors))
    with running(models, tmp_path_factory.mktemp("label_files")) as instance:
        findings = f"{instance.url}/v2/models/lab/findings"
        eventually("the monitor", lambda: httpx.get(findings, timeout=60).status_code == 200)
        yield instance


def push(
    instance: Any, file: Path, *options: str, model: str = "lab"
) -> subprocess.CompletedProcess[str]:
    """Run the command; JSON lines are given on standard input."""
    piped = file.suffix == ".jsonl"
    name = "-" if piped else str(file)
    url = ("--url", instance.url)
    return subprocess.run(
        [sys.executable, "-m", "serving.cli", "labels", "push", model, name, *url, *options],
        input=file.read_text() if piped else None,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "200"},
    )


def predict(instance: Any, prefix: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Have 3,000 rows predicted; returns a label for each, which is what was predicted."""
    labels = []
    for number in range(REQUESTS):
        x = rng.standard_normal((ROWS, 4), np.float32)
        x[:, 1] = 0  # the model would sleep for it
        tensor = {"name": "x", "datatype": "FP32", "shape": [ROWS, 4], "data": x.tolist()}
        ident = f"{prefix}-{number}"
        answer = instance.infer("lab", [tensor], id=ident, timeout_s=60).json()
        scores = np.array(answer["outputs"][0]["data"]).reshape(ROWS, 3)
        labels += [
            {"id": ident, "index": row, "y_true": int(predicted)}
            for row, predicted in enumerate(scores.argmax(1))
        ]
    return labels


def mixed(labels: list[dict[str, Any]], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return labels in random order, with duplicates, corrections and unknown ids among them."""
    duplicates = labels[:SOME]
    corrections = [
        label | {"y_true": (label["y_true"] + 1) % 3} for label in labels[SOME : 2 * SOME]
    ]
    unknown = [label | {"id": f"no-{label['id']}"} for label in labels[:SOME]]
    everything = [
        label | {"sex": "FM"[at % 2], "timestamp": "2026-01-31T12:00:00Z"}
        for at, label in enumerate([*labels, *duplicates, *corrections, *unknown])
    ]
    return [everything[at] for at in rng.permutation(len(everything))]


def write(file: Path, labels: list[dict[str, Any]]) -> None:
    named = [{name.replace("sex", "sensitive_features.sex"): label[name] for name in label}
             for label in labels]  # fmt: skip
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(named), file)
    elif file.suffix == ".csv":
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(named[0]))
            writer.writeheader()
            writer.writerows(named)
    else:
        objects = [
            {name: label[name] for name in label if name != "sex"}
            | {"sensitive_features": {"sex": label["sex"]}}
            for label in labels
        ]
        file.write_text("".join(json.dumps(label) + "\n" for label in objects))


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_every_label_of_a_file_is_counted_as_what_it_is(
    monitored: Any, eventually: Callable[..., Any], tmp_path: Path, suffix: str
) -> None:
    rng = np.random.default_rng(0)
    predicted = predict(monitored, suffix, rng)
    file = tmp_path / f"labels.{suffix}"
    write(file, mixed(predicted, rng))
    rows = len(predicted) + 3 * SOME
    done = push(monitored, file, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "rows": rows, "accepted": len(predicted) + SOME, "duplicate": SOME, "unknown": SOME,
        "late": 0, "last_row": rows, "sent_again": 0,
    }  # fmt: skip
    eventually(
        "the label of every prediction",
        lambda: monitored.metric("vigil_labels_coverage_ratio", model="lab") == 1,
    )
    # A corrected row goes to its first label and back.
    done = push(monitored, file)
    assert (done.returncode, done.stderr) == (0, "")
    counts = [int(line.split()[0]) for line in done.stdout.splitlines()]
    assert counts == [rows, 2 * SOME, rows - 2 * SOME, 0, 0]


def test_a_row_that_the_model_has_no_class_for_is_found(monitored: Any, tmp_path: Path) -> None:
    labels = predict(monitored, "refused", np.random.default_rng(1))
    file = tmp_path / "labels.csv"
    lines = [
        "id,index,y_true",
        *(f"{each['id']},{each['index']},{each['y_true']}" for each in labels),
    ]
    good = lines[1501]
    lines[1501] = f"{labels[1500]['id']},{labels[1500]['index']},approved"
    file.write_text("\n".join(lines))
    done = push(monitored, file, "--json")
    assert done.returncode == 1
    assert done.stderr == (
        f"vigil: {file}, row 1501 (line 1502): labels: y_true of 'refused-30', row 0 must be a "
        f"class index from 0 to 2; it is the text 'approved'; the labels of {file} up to row 1500 "
        "are pushed, and --skip 1500 goes on after it\n"
    )
    told = json.loads(done.stdout)
    assert (told["accepted"], told["last_row"]) == (1500, 1500)
    lines[1501] = good
    file.write_text("\n".join(lines))
    done = push(monitored, file, "--json", "--skip", "1500")
    told = json.loads(done.stdout)
    assert (done.returncode, told["accepted"], told["last_row"]) == (0, 1500, 3000)


def test_an_unknown_model_is_the_server_s_own_sentence(monitored: Any, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("id,y_true\na,1\n")
    done = push(monitored, file, model="cats")
    assert done.returncode == 1
    assert done.stderr == (
        "vigil: Request for unknown model: 'cats' is not found; no label was pushed\n"
    )
