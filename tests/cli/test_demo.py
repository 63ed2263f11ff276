"""`vigil demo traffic`: what it says, and what its exit code tells."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from serving.cli.client import Refused
from serving.cli.demo import AskedInstance
from serving.demo import build
from serving.demo.traffic import play as playing
from serving.demo.traffic.record import Record, Seen

EMPTY = {"/v2/incidents?limit=1000": (200, b'{"incidents": []}')}


@pytest.fixture
def day(monkeypatch):
    """Has the next day played to a record with these incidents, in no time."""

    def plays(*seen, raises=None):
        def play(day, instance, seed, around):
            around.say("something is played")
            around.progress(12.0)
            if raises is not None:
                raise raises
            assert instance.incidents() == ()
            record = Record(day, seed)
            record.seen += [Seen(hour, incident) for hour, incident in seen]
            return record

        monkeypatch.setattr(playing, "play", play)

    return plays


@pytest.fixture
def planted(make_incident):
    return [
        (9.0, make_incident(cause="drift", severity="info")),
        (13.0, make_incident(cause="fairness/sex", severity="ticket")),
        (19.0, make_incident()),
    ]


def test_what_was_planted_and_said_is_fine(vigil, instance, day, planted, tmp_path):
    day(*planted)
    path = tmp_path / "day.svg"
    done = vigil(
        "demo", "traffic", "--url", instance(EMPTY).url, "--seed", "5", "--picture", str(path)
    )
    assert done.returncode == 0, done.stderr
    first, *_, verdict, picture = done.stdout.splitlines()
    assert first.startswith("A day in 120 s: 24,000 applicants for 'loans'")
    assert "(seed 5)" in first
    assert "something is played" in done.stdout
    assert verdict == "Vigil said what was planted, and nothing else."
    assert picture == f"picture: {path}"
    assert ET.parse(path).getroot().tag.endswith("svg")


def test_one_that_lacks_is_a_failure(vigil, instance, day, planted):
    day(*planted[1:])
    done = vigil("demo", "traffic", "--url", instance(EMPTY).url)
    assert done.returncode == 1
    assert "missing  08:00 drift" in done.stdout


def test_one_too_many_is_a_failure(vigil, instance, day, planted, make_incident):
    day(*planted, (20.0, make_incident(model="cancer")))
    done = vigil("demo", "traffic", "--url", instance(EMPTY).url)
    assert done.returncode == 1
    assert "wrong    20:00 page" in done.stdout


def test_ctrl_c_ends_it_in_one_sentence(vigil, instance, day):
    day(raises=KeyboardInterrupt())
    done = vigil("demo", "traffic", "--url", instance(EMPTY).url)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "vigil: interrupted; nothing is sent any more"


def test_without_a_gateway_it_says_so(vigil):
    done = vigil("demo", "traffic", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "nothing answers at http://127.0.0.1:1" in done.stderr


def test_a_picture_in_no_folder_is_refused_before_anything_is_played(vigil, tmp_path: Path):
    done = vigil("demo", "traffic", "--picture", str(tmp_path / "none" / "x.svg"))
    assert done.returncode == 1
    assert "--picture: there is no folder" in done.stderr


def test_the_demo_itself_is_built_without_its_traffic(vigil, monkeypatch, tmp_path):
    built = []
    monkeypatch.setattr(build, "build_demo", lambda root, report: built.append(root))
    done = vigil("demo", "--build-only", "--models", str(tmp_path))
    assert (done.returncode, built) == (0, [tmp_path])


class Refusing:
    """Answers to POST after a row of refusals, by their status."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)

    def post(self, *path, body):
        if self.statuses:
            raise Refused("the monitor is not there; retry later", status=self.statuses.pop(0))


def test_labels_wait_for_a_monitor_that_starts_and_for_nothing_else():
    slept = []
    client = Refusing(503, 503, 404)
    with pytest.raises(Refused) as refused:
        AskedInstance(client, slept.append).push_labels("loans", b"{}")
    assert (refused.value.status, len(slept)) == (404, 2)
    AskedInstance(client, slept.append).push_labels("loans", b"{}")
    gone = Refusing(*[503] * 1000)
    with pytest.raises(Refused):
        AskedInstance(gone, slept.append).push_labels("loans", b"{}")
    assert 60 <= sum(slept) < 300
