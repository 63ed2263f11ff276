"""Runs everything that README.md and docs/ show, against one demo, and compares the output.

A block whose first line is `# name` is that file; a `console` block has commands after `$ ` and
what they print. The pages of docs/ continue what README.md began, and none needs another one.
A page without a `console` block runs nothing, so its files are fragments and are not written.
`VIGIL_README_UPDATE=1` writes what the commands print now into the pages instead.
"""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from loadtest.home import ROOT
from loadtest.process import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# (\S+\.(?:py|yaml))\n")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ADDRESS = re.compile(r"(localhost:|127\.0\.0\.1:|-port )([789]00[012])\b")
PORTS = (7000, 7001, 7002, 8000, 8001, 8002, 9000, 9001, 9002)


ASKS_FOR_WHAT_IS_REPORTED = ("vigil findings", "vigil status", "/metrics")
"""Commands that change nothing and show what has been reported, which is a little late."""
SOON_S = 60 if "VIGIL_README_UPDATE" not in os.environ else 0


@dataclass
class Shell:
    """Runs commands in a folder where the demo is at `ports` instead of the usual ones."""

    folder: Path
    ports: dict[int, int]
    background: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def moved(self, text: str) -> str:
        text = text.replace("vigil status", "vigil status --url http://localhost:8002")
        text = text.replace(
            "vigil findings loans", "vigil findings loans --url http://localhost:8000"
        )
        return ADDRESS.sub(lambda found: found[1] + str(self.ports[int(found[2])]), text)

    def start(self, command: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {self.moved(command)}"],
                cwd=self.folder, env=self._env(), stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.background.append(process)
        return process

    def run(self, command: str) -> str:
        if command.endswith("&"):
            self.start(command.removesuffix("&"))
            return ""
        finished = subprocess.run(
            ["bash", "-c", self.moved(command)],
            cwd=self.folder, env=self._env(), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        # grep finds nothing yet in what is reported a little late.
        found = finished.returncode == 0 or (finished.returncode == 1 and "| grep" in command)
        assert found, f"$ {command}\n{finished.stdout}{finished.stderr}"
        return finished.stdout

    def _env(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def shell(tmp_path: Path, demo_root: Path) -> Iterator[Shell]:
    python = Path(sys.executable)
    assert (python.parent / "vigil").is_file() or shutil.which("vigil"), (
        f"the pages run the command `vigil`, which is not beside {python}; install the checkout"
    )
    shutil.copytree(demo_root, tmp_path / "demo-models")
    shell = Shell(tmp_path, dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    demo = shell.start(
        "vigil demo --engine local --http-port 8000 --grpc-port 8001 --admin-port 8002"
    )
    try:
        _wait_ready(demo, shell)
        yield shell
    finally:
        for process in shell.background:
            process.send_signal(signal.SIGTERM)
        for process in shell.background:
            process.wait(60)


def _wait_ready(demo: subprocess.Popen[bytes], shell: Shell) -> None:
    curl = "curl -sf --retry 100 --retry-all-errors --retry-delay 1 localhost:8002/readyz"
    shell.run(curl)
    # The monitor starts once requests can be answered.
    roles = {"monitor": 1}
    late = time.monotonic() + 200
    while time.monotonic() < late:
        members = httpx.get(f"http://127.0.0.1:{shell.ports[8002]}/status", timeout=60).json()[
            "members"
        ]
        ready = [state["member"]["role"] for state in members if state["ready"]]
        if all(ready.count(role) >= count for role, count in roles.items()):
            return
        assert demo.poll() is None, (shell.folder / "log").read_text()
        shell.run("sleep 0.1")
    raise AssertionError(f"only {ready} are there")


def _plain(text: str) -> tuple[str, list[float]]:
    """Return text without what may differ from run to run, and its numbers."""
    text = UUID.sub("UUID", text)
    text = re.sub(r"[━─┏┓┗┛┡┩└┘┬┴┳┻╇┼]+", "-", text)
    numbers = [float(number) for number in NUMBER.findall(text)]
    return re.sub(r"\s+", " ", NUMBER.sub("N", text)).strip(), numbers


def _same(shown: str, printed: str) -> bool:
    text, numbers = _plain(shown)
    other, others = _plain(printed)
    # Training is not the same to the last digit on every machine.
    return text == other and others == pytest.approx(numbers, rel=0.1, abs=0.05)


def _differing_lines(shown: str, printed: str) -> str:
    """Return the lines that are not the same, which are hard to find in a long table."""
    pairs = itertools.zip_longest(shown.splitlines(), printed.splitlines(), fillvalue="")
    return "\n".join(f"- {line}\n+ {now}" for line, now in pairs if not _same(line, now))


def _play(block: str, run: Callable[[str], str]) -> tuple[str, list[str]]:
    """Run a console block; returns it with what was printed, and what differs."""
    played, wrong = "", []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        late = time.monotonic() + SOON_S
        while True:
            printed = run(command)
            printed += "" if printed.endswith("\n") or not printed else "\n"
            asks = any(each in command for each in ASKS_FOR_WHAT_IS_REPORTED)
            if not asks or _same(shown, printed) or time.monotonic() > late:
                break
            time.sleep(0.25)  # a command takes a second of a core, which who reports needs as well
        played += f"$ {command}\n{printed}"
        if not _same(shown, printed):
            lines = _differing_lines(shown, printed)
            wrong.append(f"$ {command}\n{lines}\nshown:\n{shown}now:\n{printed}")
    return played, wrong


def _play_page(text: str, shell: Shell) -> tuple[str, list[str], int]:
    """Run a page; returns it with what was printed, what differs, and how many blocks it ran."""
    wrong: list[str] = []
    played = 0
    for language, block in BLOCK.findall(text):
        if named := NAMED.match(block):
            path = shell.folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(shell.moved(block))
        elif language == "console":
            now, differs = _play(block, shell.run)
            text = text.replace(block, now)
            wrong += differs
            played += 1
    return text, wrong, played


def test_what_the_pages_show_is_what_happens(shell: Shell) -> None:
    wrong: list[str] = []
    played = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if "console" not in (language for language, _ in BLOCK.findall(text)):
            continue
        now, differs, blocks = _play_page(text, shell)
        played += blocks
        if os.environ.get("VIGIL_README_UPDATE"):
            page.write_text(now, encoding="utf-8")
        else:
            wrong += [f"{page.name}: {each}" for each in differs]
    assert not wrong, "\n".join(wrong)
    assert played > 9
