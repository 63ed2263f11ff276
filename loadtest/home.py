"""Where peers are installed and races leave their files."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def bench_home() -> Path:
    """Return `.bench` of the checkout, or what `VIGIL_BENCH_HOME` names."""
    return Path(os.environ.get("VIGIL_BENCH_HOME") or ROOT / ".bench")
