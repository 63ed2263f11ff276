"""What an earlier monitor has saved is read by this one."""

import json
from pathlib import Path

import msgspec

from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import Label, LabelCounts, LabelsMeta
from serving.config import ModelConfig
from serving.monitoring.service import MonitoringService

SAVED = Path(__file__).parents[1] / "testdata" / "saved_monitor_state.json"
"""State, entries and findings of 250 rows and 210 labels."""


def served(minimum: float = 0.9) -> ServedModel:
    config = ModelConfig.model_validate({
        "format": "python", "factory": "net:build", "trust_code": True,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}],
        "monitors": {
            "drift": {"reference": "live", "reference_rows": 100, "window": 50},
            "performance": {"min": minimum},
        },
        "fairness": {"sensitive": ["sex"], "favorable": "yes", "window": 100},
    })  # fmt: skip
    return ServedModel("loans", "1", config.model_dump_json().encode(), "/nowhere")


def restored(minimum: float = 0.9, without: str = "") -> MonitoringService:
    saved = json.loads(SAVED.read_text())
    saved["state"]["models"]["loans/1"].pop(without, None)
    service = MonitoringService(lambda: 1000.0)
    service.restore(saved["state"], saved["entries"])
    service.serve([served(minimum)])
    return service


def test_every_monitor_goes_on_with_what_it_had_found():
    service = restored()
    answer = service.findings("loans")
    # Drift, fairness and performance were judged otherwise then and begin anew; drift keeps its
    # reference.
    saved = json.loads(SAVED.read_text())["findings"]
    before = [one for one in saved if one["monitor"] == "quality"]
    assert before
    findings = json.loads(msgspec.json.encode(answer.findings))
    for was, now in zip(before, findings, strict=True):
        assert all(now[name] == value for name, value in was.items())
    since = "reference: first 100 rows since 1970-01-01T00:16:40Z"
    assert answer.notes[0] == f"drift of model 'loans': {since}"
    anew = {note.split(" of ")[0] for note in answer.notes[1:] if "began anew" in note}
    assert anew == {"fairness", "performance"}


def test_every_monitor_is_where_it_was_in_its_window():
    (watch,) = restored().watches
    filled = {judge.name: judge.monitor.filled for judge in watch._monitors.judges}
    assert filled == {
        "drift": (0, 50),
        "prediction_drift": (0, 50),
        "data_quality": (0, 1000),
        "fairness": (0, 100),
        "quality": (50, 100),
        "performance": (0, 200),
    }


def test_labels_are_joined_with_the_predictions_of_before():
    service = restored()
    labels = LabelsMeta("loans", [Label(f"r{n}", 0, "yes") for n in (209, 210, 249)])
    assert service.label(labels) == LabelCounts(accepted=2, duplicate=1)
    coverage = [s.value for s in service.snapshot() if s.name == "vigil.labels.coverage"]
    assert coverage == [212 / 250]


def test_what_is_judged_anew_has_no_finding():
    findings = restored(minimum=0.5).findings("loans").findings
    assert {one.monitor for one in findings} == {"quality"}


def test_labels_go_on_although_accuracy_was_not_saved():
    service = restored(without="performance")
    (watch,) = service.watches
    assert watch.state()["labels"]["labelled"] == 210
    filled = {judge.name: judge.monitor.filled for judge in watch._monitors.judges}
    assert filled["performance"] == (0, 200)
    findings = service.findings("loans").findings
    assert {one.monitor for one in findings} == {"quality"}


def test_what_goes_on_is_saved_as_it_was():
    (watch,) = restored().watches
    saved = json.loads(SAVED.read_text())["state"]["models"]["loans/1"]
    state = json.loads(json.dumps(watch.state()))
    assert state["quality"]["window"].items() >= saved["quality"]["window"].items()
    assert state["drift"]["reference"] == saved["drift"]["reference"]
    assert state["labels"].pop("overall")["rows"] == 0  # it begins with what comes from now on
    state["labels"].pop("groups")
    assert state["labels"].pop("orders") == []
    assert state["labels"] == saved["labels"]
