"""Binding: does a decoded request fit the model's declared inputs and outputs?"""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import numpy as np

from serving.config import InputSpec, ModelConfig
from serving.dataplane.requests.bound import Bound, Fitting
from serving.dataplane.requests.classification import check_scores
from serving.dataplane.requests.passthrough import (
    encode_forward,
    is_stateful,
    with_axis,
    with_row_axis,
)
from serving.errors import InvalidInput
from serving.protocol.json.data import UNREADABLE
from serving.protocol.json.duplicates import refuse_duplicates
from serving.protocol.messages import InferRequest, Tensor

_decode_sensitive = msgspec.json.Decoder(dict[str, list[str | int | bool | None]]).decode


class Binder:
    """Checks requests against one model's configuration."""

    def __init__(self, name: str, config: ModelConfig) -> None:
        self._name = name
        self._model_inputs = [spec for spec in config.inputs if not spec.sensitive]
        self._sensitive_inputs = [spec for spec in config.inputs if spec.sensitive]
        self._outputs = {spec.name: spec for spec in config.outputs}
        self._attributes = set(config.fairness.sensitive) if config.fairness else set()
        only = self._model_inputs[0]
        self._single = only if len(config.inputs) == 1 else None
        self._single_name, self._single_datatype = only.name, only.datatype
        self._tail = tuple(only.shape[1:])
        self._fixed = all(dim >= 0 for dim in self._tail)
        self._row_axis = config.row_axis
        # Without rows there is nothing that one value could be for.
        self._rowless = [
            at for at, spec in enumerate(self._model_inputs) if spec.rowless and self._row_axis
        ]
        self._own = {spec.name: config.own_shape(spec) for spec in self._model_inputs}
        self._is_remote = config.remote is not None
        self._joined = config.joined
        self._most_rows = config.batching.max_queue_rows

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs that the model sees, in order."""
        return tuple(spec.name for spec in self._model_inputs)

    def bind(self, request: InferRequest, credential: bytes = b"") -> Bound:
        """Check names, datatypes, shapes and wanted outputs.

        Args:
            request: decoded.
            credential: of whoever asks, where it is passed on to the model's server; only
                requests with equal ones share a batch.

        Raises:
            InvalidInput: something does not fit; the message says what.
        """
        outputs: tuple[str, ...] = ()
        if request.outputs:
            outputs = self._wanted(request)
        if not self._row_axis:
            request = with_row_axis(request)
        parameters = request.parameters
        sensitive = None
        if self._single is not None and len(request.inputs) == 1:
            # Nearly every request of nearly every model: one input of a fixed shape.
            tensor = request.inputs[0]
            if (
                tensor.name != self._single_name
                or tensor.datatype != self._single_datatype
                or not self._fixed
                or tensor.shape[1:] != self._tail
                or not tensor.shape
                or not tensor.shape[0]
            ):
                tensor = self._checked(tensor, self._single)
            arrays: tuple[np.ndarray, ...] = (tensor.data,)
            key: tuple[tuple[int, ...] | bytes, ...] = (tensor.shape[1:],)
            rows = tensor.shape[0]
        else:
            arrays, rows, sensitive = self._bind_all(request)
            key = tuple(array.shape[1:] for array in arrays)
            if self._rowless:
                key += tuple(_value(arrays[at]) for at in self._rowless)
        if parameters and "sensitive_features" in parameters:
            sensitive = {
                **(sensitive or {}),
                **self._sensitive(parameters["sensitive_features"], rows),
            }
        if not self._is_remote:
            return Bound(arrays, rows, key, outputs, sensitive, b"", not self._joined)
        forward = encode_forward(request, credential)
        alone = not self._joined or is_stateful(parameters)
        return Bound(arrays, rows, (*key, forward), outputs, sensitive, forward, alone)

    def _bind_all(
        self, request: InferRequest
    ) -> tuple[tuple[np.ndarray, ...], int, dict[str, np.ndarray] | None]:
        given = {tensor.name: tensor for tensor in request.inputs}
        if len(given) != len(request.inputs):
            raise InvalidInput("an input is given twice; send each input once")
        arrays, rows = [], -1
        for at, spec in enumerate(self._model_inputs):
            tensor = given.pop(spec.name, None)
            if tensor is None:
                raise InvalidInput(f"input '{spec.name}' of model '{self._name}' is missing")
            if at in self._rowless:
                arrays.append(self._checked(with_axis(tensor), spec).data)
                continue
            tensor = self._checked(tensor, spec)
            if rows not in (-1, tensor.shape[0]):
                raise InvalidInput(
                    f"inputs differ in rows: '{spec.name}' has {tensor.shape[0]}, "
                    f"another has {rows}"
                )
            rows = tensor.shape[0]
            arrays.append(tensor.data)
        for at in self._rowless:
            arrays[at] = np.broadcast_to(arrays[at], (rows, *arrays[at].shape[1:]))
        sensitive: dict[str, np.ndarray] = {}
        for spec in self._sensitive_inputs:
            tensor = given.pop(spec.name, None)
            if tensor is not None:
                self._checked(tensor, spec)
                if tensor.data.size != rows:
                    raise InvalidInput(f"sensitive input '{spec.name}' needs one value per row")
                sensitive[spec.name] = _as_text(tensor.data.reshape(-1).tolist())
        if given:
            raise InvalidInput(
                f"unexpected input '{next(iter(given))[:80]}' for model '{self._name}'; it has "
                + ", ".join(spec.name for spec in self._model_inputs)
            )
        return tuple(arrays), rows, sensitive or None

    def fitting(self, request: InferRequest) -> Fitting | None:
        """Return what of a request fits, where `bind` or the queue has refused it.

        None: nothing does, or it cannot be told apart into rows, or no request may have so many.
        """
        if not self._row_axis:
            request = with_row_axis(request)
        given: dict[str, Tensor | None] = {}
        for tensor in request.inputs:
            given[tensor.name] = None if tensor.name in given else tensor
        inputs: dict[str, np.ndarray] = {}
        counts = set()
        for at, spec in enumerate(self._model_inputs):
            rowless = at in self._rowless
            found = self._fits(given.get(spec.name), spec, rowless=rowless)
            if found is not None:
                inputs[spec.name] = found
                if not rowless:
                    counts.add(len(found))
        if len(counts) != 1 or not 0 < (rows := counts.pop()) <= self._most_rows:
            return None
        for at in self._rowless:
            name = self._model_inputs[at].name
            if name in inputs:
                inputs[name] = np.broadcast_to(inputs[name], (rows, *inputs[name].shape[1:]))
        sensitive: dict[str, np.ndarray] = {}
        for spec in self._sensitive_inputs:
            found = self._fits(given.get(spec.name), spec)
            if found is not None and found.size == rows:
                sensitive[spec.name] = _as_text(found.reshape(-1).tolist())
        if request.parameters and "sensitive_features" in request.parameters:
            with contextlib.suppress(InvalidInput):
                sensitive |= self._sensitive(request.parameters["sensitive_features"], rows)
        return Fitting(rows, inputs, sensitive or None)

    def _fits(
        self, tensor: Tensor | None, spec: InputSpec, *, rowless: bool = False
    ) -> np.ndarray | None:
        if tensor is None:
            return None
        try:
            return self._checked(with_axis(tensor) if rowless else tensor, spec).data
        except InvalidInput:
            return None

    def _checked(self, tensor: Tensor, spec: InputSpec) -> Tensor:
        """Return the tensor with the shape that is declared.

        Raises:
            InvalidInput: it does not fit.
        """
        if tensor.name != spec.name:
            raise InvalidInput(
                f"unexpected input '{tensor.name[:80]}' for model '{self._name}'; it has "
                + ", ".join(s.name for s in self._model_inputs)
            )
        if tensor.datatype != spec.datatype:
            raise InvalidInput(
                f"input '{spec.name}' of model '{self._name}' is {spec.datatype}, "
                f"not {tensor.datatype}"
            )
        if len(spec.shape) == 1 and tensor.shape[1:] == (1,):
            # Triton's clients send one value per row like this, for its dims are never empty.
            shape = tensor.shape[:1]
            tensor = msgspec.structs.replace(tensor, shape=shape, data=tensor.data.reshape(shape))
        fits = len(tensor.shape) == len(spec.shape) and all(
            want in (-1, got) for want, got in zip(spec.shape, tensor.shape, strict=True)
        )
        if not fits:
            own = self._own.get(spec.name, spec.shape)
            raise InvalidInput(
                f"input '{spec.name}' of model '{self._name}' has shape {own}, "
                f"not {list(tensor.shape[len(spec.shape) - len(own) :])}"
            )
        return tensor

    def _wanted(self, request: InferRequest) -> tuple[str, ...]:
        names = tuple(output.name for output in request.outputs)
        if len(set(names)) != len(names):
            raise InvalidInput("an output is asked for twice; name each output once")
        for output in request.outputs:
            name = output.name
            if name not in self._outputs:
                raise InvalidInput(
                    f"unexpected output '{name[:80]}' for model '{self._name}'; it has "
                    + ", ".join(sorted(self._outputs))
                )
            if output.parameters:
                check_scores(output, self._outputs[name])
        return names

    def _sensitive(self, text: Any, rows: int) -> dict[str, np.ndarray]:
        wrong = InvalidInput(
            "parameter sensitive_features must be a JSON object as text: one list per "
            f"attribute, one value per row ({rows})"
        )
        if not isinstance(text, str):
            raise wrong
        try:
            given = _decode_sensitive(text)
            # Flat by now, and so quick to check; a value for each of many rows is long.
            refuse_duplicates(text.encode(), "parameter sensitive_features", 1 << 20)
        except UNREADABLE:
            raise wrong from None
        for name, values in given.items():
            if name not in self._attributes:
                raise InvalidInput(
                    f"sensitive_features: '{name[:80]}' is not declared under fairness.sensitive "
                    f"of model '{self._name}'"
                )
            if len(values) != rows:
                raise wrong
        return {name: _as_text(values) for name, values in given.items()}


def _value(rows: np.ndarray) -> bytes:
    """Return what tells the value of an input without rows from another; `rows` repeat it."""
    value = rows[:1]
    if value.dtype != np.object_:
        return value.tobytes()
    return b"".join(b"%d:%b" % (len(text), text) for text in value.flat)


def _as_text(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=np.object_)
    for index, value in enumerate(values):
        if isinstance(value, bytes):
            array[index] = value.decode("utf-8", "replace")
        else:
            array[index] = None if value is None else str(value)
    return array
