"""What is planted in a day of traffic is what a real instance says, and nothing else."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from serving.cli.client import Client
from serving.cli.demo import AskedInstance
from serving.demo.traffic.comparison import compare
from serving.demo.traffic.play import Surroundings, play
from serving.demo.traffic.schedule import DRIFT, Day

pytestmark = pytest.mark.e2e

CHECKOUT = Path(__file__).parents[2]
MORNING = Day(
    seconds=48.0,
    begins=6.0,
    ends=10.0,
    rows_per_s=400.0,
    label_delay_h=0.5,
    push_every_h=0.5,
    planted=(DRIFT,),
)
"""Two clean hours and two with a drift, in eight seconds."""


@pytest.fixture
def served(running: Callable[..., Any], demo_root: Path, tmp_path: Path) -> Iterator[Any]:
    with running(demo_root, tmp_path) as instance:
        yield instance


def test_a_clean_morning_and_a_drift_are_one_incident(served: Any) -> None:
    said: list[str] = []
    with httpx.Client() as session:
        instance = AskedInstance(Client(served.url, session=session))
        record = play(MORNING, instance, 1, Surroundings(say=said.append, wait_s=300))
    compared = compare(MORNING.planted, record.seen)
    assert compared.right, "\n".join(said)
    assert any("'term_months'" in line for line in said)


@pytest.mark.long
def test_a_whole_day_is_three_incidents_with_their_causes(served: Any, tmp_path: Path) -> None:
    picture = tmp_path / "day.svg"
    done = subprocess.run(
        [sys.executable, "-m", "serving.cli", "demo", "traffic", "--url", served.url,
         "--seed", "11", "--picture", str(picture)],
        capture_output=True, text=True, timeout=400, cwd=CHECKOUT, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Vigil said what was planted, and nothing else." in done.stdout
    whys = [line for line in done.stdout.splitlines() if ", why: " in line]
    assert "'credit_history_years'" in whys[0]
    assert "concept shift" in whys[-1]
    assert "'home_ownership'" in whys[-1]
    assert ET.parse(picture).getroot().tag.endswith("svg")
