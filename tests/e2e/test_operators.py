"""What an operator's own tools make of the admin listener: a browser, and Prometheus."""

import html
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.once]


def _tool(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        # In CI nothing may be missing: a skip would hide it.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {name} (Debian: {package})")
    return path


def test_promtool_finds_no_fault_in_the_metrics(instance: Any) -> None:
    promtool = _tool("promtool", "prometheus")
    text = subprocess.run(
        ["curl", "-sf", f"{instance.admin}/metrics"], capture_output=True, check=True
    ).stdout
    assert b"vigil_inference_requests_total" in text
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    faults = (checked.stdout + checked.stderr).decode().splitlines()
    # A gauge: how many slots there are in total, beside how many are used.
    assert [fault for fault in faults if "vigil_replica_slots_total" not in fault] == []


def test_a_browser_shows_the_console(instance: Any, tmp_path: Path) -> None:
    shown = subprocess.run(
        [
            _tool("chromium", "chromium"), "--headless", "--no-sandbox", "--disable-gpu",
            f"--user-data-dir={tmp_path}", "--virtual-time-budget=5000",
            "--dump-dom", f"{instance.admin}/console",
        ],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    page = re.sub(r"<script.*?</script>", "", shown.stdout, flags=re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]*>", " ", page))
    assert "Serving" in text, shown.stderr[-2000:]
    assert all(f"{name} v1" in text for name in ("cancer", "digits", "loans"))
