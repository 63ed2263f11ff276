"""What monitors have left that run no more: each that runs forgets its own models' requests in it.

An instance that had more monitors, or fewer, has left their files. Two monitors that wrote the
same one would write over each other's, so they take turns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from serving.errors import VigilError
from serving.log.folder_lock import folder_lock
from serving.log.place import log_folder
from serving.monitoring.forget_proof import require_absent
from serving.monitoring.forgetting import Requests, forget_requests

LOCK_S: Final = 60.0
"""Another monitor may take so long."""


class FormerMonitors:
    """Files of an instance that belong to no monitor that runs.

    Args:
        data_dir: of the instance.
        running: names of the monitors that run.
        gone: requests of the models that this monitor deals with. One of all has the text, and
            searches what is no monitor's own.
    """

    def __init__(self, data_dir: Path, running: Collection[str], gone: Requests) -> None:
        self._data_dir, self._running, self._gone = data_dir, running, gone

    def forget(self) -> int:
        """Forget the requests; returns how many entries are gone.

        Raises:
            VigilError: another monitor takes too long.
            OSError: a file cannot be written; what was there is there still.
        """
        with self._alone():
            return forget_requests(self._data_dir, self._gone, but=self._running)

    def prove(self) -> int:
        """Search the files; returns how many were searched.

        Raises:
            VigilError: one still holds a request, the message says which; or as for `forget`.
            OSError: one cannot be read.
        """
        with self._alone():
            return require_absent(
                self._data_dir, self._gone, but=log_folder(self._data_dir), monitors=self._running
            )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with folder_lock(self._data_dir, alone=True, timeout_s=LOCK_S) as locked:
            if not locked:
                raise VigilError(
                    f"it is not finished, do it again later: another monitor holds the lock of "
                    f"{self._data_dir}"
                )
            yield
