import json

import pytest

from loadtest.experiments import running
from loadtest.experiments.running import Experiment


@pytest.fixture
def experiment():
    return Experiment(
        name="two_words",
        about="What?",
        measure=lambda full: {"full": full},
        tables=lambda found: f"full: {found['full']}\n",
        draw=lambda path, found: path.write_text("<svg/>"),
    )


def test_it_prints_and_keeps_nothing_unless_asked(experiment, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(running, "RESULTS", tmp_path)
    assert experiment.main([]) == 0
    assert capsys.readouterr().out == "full: False\n"
    assert list(tmp_path.iterdir()) == []


def test_it_keeps_figures_with_the_command_and_the_machine(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "RESULTS", tmp_path)
    experiment.main(["--full", "--write"])
    kept = json.loads((tmp_path / "two-words.json").read_text())
    assert kept["full"] is True
    assert "loadtest.experiments.two_words" in kept["command"]
    assert kept["machine"]
    assert (tmp_path / "two-words.md").read_text() == "full: True\n"
    assert (tmp_path / "two-words.svg").read_text() == "<svg/>"
