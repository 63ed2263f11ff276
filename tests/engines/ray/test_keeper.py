"""A driver that loses its Ray is started again with what it kept; no Ray is here, only processes.

Each test runs a command of its own, since a keeper ends everything below its process.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

PRELUDE = """
import os, signal, subprocess, sys, time
from pathlib import Path
from serving.engines.ray import keeper as ray_keeper
from serving.engines.ray.keeper import Kept, keep
from serving.config import ConfigError
from serving.telemetry.logs.setup import configure

configure("supervisor", "json", "info")
ray_keeper.FIRST_PAUSE_S = ray_keeper.LONGEST_PAUSE_S = 0.01
folder = Path(sys.argv[1])
lives = folder / "lives"
lives.touch()
(folder / "kept").mkdir()

def live():
    with lives.open("a") as file:
        file.write("x")
    return len(lives.read_text())

def leave(seconds):
    # An orphan, as of a lost raylet: the shell that starts it ends before it does.
    script = f"sleep {seconds} >/dev/null 2>&1 & echo $!"
    made = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, text=True, check=True)
    return made.stdout.strip()

def end(code):
    print(f"code {code}", flush=True)
    sys.exit(code)
"""


def run(script: str, folder: Path) -> tuple[int, list[str], list[dict[str, object]]]:
    """Run a command to its end; returns its code, its output, and its log."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    return done.returncode, done.stdout.splitlines(), lines


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


LOSES = """
def drive(kept, runtime):
    life = live()
    print(life, kept.order, runtime.is_dir(), flush=True)
    kept.keep(b"order %d" % life)
    kept.note_ready()
    if life <= 7:
        print("orphan", leave(1000), flush=True)
        os.kill(os.getpid(), signal.SIGKILL) if life % 2 else os._exit(70)
    return 1

end(keep(drive, Kept(folder / "kept")))
"""


def test_the_next_driver_begins_with_what_the_last_one_kept(tmp_path: Path) -> None:
    code, output, log = run(LOSES, tmp_path)
    assert code == 1
    told = [line for line in output if not line.startswith("orphan")]
    orders = ["None", *[f"b'order {life}'" for life in range(1, 8)]]
    assert told == [*[f"{n} {order} True" for n, order in enumerate(orders, 1)], "code 1"]
    orphans = [int(line.split()[1]) for line in output if line.startswith("orphan")]
    assert len(orphans) == 7
    assert not any(map(alive, orphans))
    # More than may be lost in a row before it is ready: each of these was.
    assert [line["event"] for line in log if line["event"] != "ray_lost"] == []
    assert log


VAIN = """
def drive(kept, runtime):
    live()
    os._exit(1)

end(keep(drive, Kept(folder / "kept")))
"""


def test_one_that_never_comes_up_is_given_up(tmp_path: Path) -> None:
    code, output, log = run(VAIN, tmp_path)
    assert (code, output) == (1, ["code 1"])
    assert len((tmp_path / "lives").read_text()) == 5
    assert log[-1]["event"] == "supervisor_stops"


REFUSES = """
def drive(kept, runtime):
    if live() > 1 or not sys.argv[2:]:
        raise ConfigError("Ray does not start on this machine")
    kept.note_ready()
    os._exit(70)

try:
    end(keep(drive, Kept(folder / "kept")))
except ConfigError as error:
    print(error.message)
"""


def test_what_the_first_driver_refuses_is_the_commands_own_error(tmp_path: Path) -> None:
    code, output, log = run(REFUSES, tmp_path)
    assert (code, output, log) == (0, ["Ray does not start on this machine"], [])
    assert (tmp_path / "lives").read_text() == "x"


def test_what_a_later_one_refuses_is_tried_again(tmp_path: Path) -> None:
    script = "sys.argv.append('later')\n" + REFUSES
    code, output, log = run(script, tmp_path)
    assert (code, output) == (1, ["code 1"])
    assert len((tmp_path / "lives").read_text()) == 6
    said = [str(line["message"]) for line in log]
    assert any(line.startswith("Ray does not start on this machine; it is") for line in said)


SLOW = """
def drive(kept, runtime):
    if live() < int(sys.argv[2]):
        raise ray_keeper.StartsTooSlowly("Ray has timed out")
    raise ConfigError("another port is taken")

try:
    end(keep(drive, Kept(folder / "kept")))
except ConfigError as error:
    print(error.message)
"""


def test_a_ray_that_starts_too_slowly_is_tried_again(tmp_path: Path) -> None:
    code, output, log = run("sys.argv.append('4')\n" + SLOW, tmp_path)
    # What the fourth refuses is still the command's own error: there was none before it.
    assert (code, output) == (0, ["another port is taken"])
    assert (tmp_path / "lives").read_text() == "xxxx"
    assert [line["event"] for line in log] == ["ray_lost"] * 3
    assert str(log[0]["message"]).startswith("Ray has timed out; it is started again")


def test_one_that_always_starts_too_slowly_is_given_up(tmp_path: Path) -> None:
    code, output, log = run("sys.argv.append('99')\n" + SLOW, tmp_path)
    assert (code, output) == (1, ["code 1"])
    assert (tmp_path / "lives").read_text() == "xxxxx"
    assert log[-1]["event"] == "supervisor_stops"


CRASHES = """
def drive(kept, runtime):
    live()
    raise RuntimeError("no such library")

end(keep(drive, Kept(folder / "kept")))
"""


def test_an_error_of_the_first_start_is_not_tried_again(tmp_path: Path) -> None:
    code, output, log = run(CRASHES, tmp_path)
    assert (code, output) == (1, ["code 1"])
    assert (tmp_path / "lives").read_text() == "x"
    assert [line["event"] for line in log] == ["process_crashed"]


WAITS = """
def drive(kept, runtime):
    if live() == 1:
        kept.note_ready()
        os._exit(70)
    def told(*_):
        print("told", flush=True)
        kept.note_ended()
        os._exit(0)

    signal.signal(signal.SIGTERM, told)
    print("waits", flush=True)
    while True:
        time.sleep(60)

end(keep(drive, Kept(folder / "kept")))
"""


def test_a_signal_reaches_the_driver_that_is_there(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + WAITS, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "told\n"
    assert process.stdout.readline() == "code 0\n"
    assert process.wait(60) == 0
    process.stdout.close()


def test_a_driver_that_a_signal_ends_is_not_started_again(tmp_path: Path) -> None:
    script = WAITS.replace("signal.signal(signal.SIGTERM, told)", "")
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 30
    assert len((tmp_path / "lives").read_text()) == 2
    process.stdout.close()
