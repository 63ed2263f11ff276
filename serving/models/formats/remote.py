"""Format `remote`: a model on another server, behind the contract that every model fulfils.

This is the blocking way, one batch at a time: for `vigil check` and for explainers. Replicas have
many requests under way at once (`serving/replica/upstream.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from serving.errors import InvalidInput, Unsupported
from serving.models.blank_row import no_rows
from serving.models.contract import Capabilities, Prediction, Tensors
from serving.models.repository.folder import ModelEntry
from serving.remote.access import access_of
from serving.remote.address import parse_address
from serving.remote.batch_tensors import check_metadata, from_upstream, to_upstream, version_of
from serving.remote.client import Client, not_ready

if TYPE_CHECKING:
    import torch

MAX_ROWS: Final = 1024
"""Rows of one request where `batching.max_batch_size` says nothing."""


class RemoteModel:
    """A model that another server computes.

    Args:
        entry: its configuration has the section `remote`.

    Attributes:
        answered_by: versions that have answered, as that server names them; who wants to know
            empties it before asking.
    """

    def __init__(self, entry: ModelEntry) -> None:
        assert entry.config.remote is not None
        self._entry = entry
        self._config = entry.config
        self._remote = entry.config.remote
        self._model = self._remote.model or entry.name
        self._client: Client | None = None
        self.answered_by: set[str] = set()
        self.traceparent = ""
        self._most = entry.config.batching.max_batch_size or MAX_ROWS
        if not self._remote.row_axis:
            self._most = 1

    def _connected(self) -> Client:
        if self._client is None:
            address = parse_address(self._remote.url)
            access = access_of(
                address, self._remote.credentials, self._remote.tls, self._entry.directory.parent
            )
            self._client = Client(address, self._remote.timeout_s, access)
        return self._client

    def require_ready(self) -> None:
        """Ask the server whether it has the model, and compare its metadata with `model.yaml`.

        Raises:
            VigilError: the server cannot be reached, the model is not ready there, or its
                tensors are others than `model.yaml` says.
        """
        client, version = self._connected(), self._remote.version
        if not client.ready(self._model, version):
            raise not_ready(client.address, self._model)
        check_metadata(self._entry.name, self._config, client.metadata(self._model, version))

    @property
    def capabilities(self) -> Capabilities:
        """Nothing beside `predict`."""
        return Capabilities()

    def predict(self, inputs: Tensors) -> Tensors:
        """Run a batch of n rows, in as many requests as the server's batch limit needs.

        Raises:
            InvalidInput: an input is missing, or the server refuses what it holds.
            ModelFailed: the server failed, or its answer is not what `model.yaml` declares.
            VigilError: it cannot be reached, is not ready, or was too late.
        """
        arrays = {}
        for spec in self._config.inputs:
            if not spec.sensitive:
                if spec.name not in inputs:
                    raise InvalidInput(f"model '{self._entry.name}' needs the input '{spec.name}'")
                arrays[spec.name] = inputs[spec.name]
        rows = len(next(iter(arrays.values())))
        if rows == 0:
            return no_rows(self._config)  # servers refuse empty tensors
        parts = [
            self._ask({name: array[at : at + self._most] for name, array in arrays.items()})
            for at in range(0, rows, self._most)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _ask(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = len(next(iter(arrays.values())))
        answer = self._connected().infer(
            self._model,
            self._remote.version,
            to_upstream(self._config, arrays),
            traceparent=self.traceparent,
        )
        self.answered_by.add(version_of(self._entry.name, answer) or self._entry.version)
        return from_upstream(self._entry.name, self._config, answer.tensors, rows)

    def predict_with_features(self, inputs: Tensors) -> Prediction:
        """Refuse: the protocol has no features.

        Raises:
            Unsupported: always.
        """
        raise Unsupported(f"model '{self._entry.name}' gives no features: it is on another server")

    def module(self) -> torch.nn.Module:
        """Refuse: there is no torch module.

        Raises:
            Unsupported: always.
        """
        raise Unsupported(f"model '{self._entry.name}' gives no module: it is on another server")


def load_remote(entry: ModelEntry, _device: str) -> RemoteModel:
    """Return the model; it connects when it is first asked, so its server need not be there yet."""
    return RemoteModel(entry)
