"""What `ps` and `top` call a process."""

from __future__ import annotations

import setproctitle


def set_title(role: str, model: str = "", version: str = "") -> None:
    """Name this process after its role and what it serves, such as `vigil: replica iris v3`.

    `top` shows the first 15 bytes unless it is asked for the command line (its key `c`).
    """
    about = f" {model} v{version}" if model else ""
    setproctitle.setproctitle(f"vigil: {role}{about}")
