"""From a model's outputs to the response that a request asked for; the way back of `binding`."""

from __future__ import annotations

from typing import Any

from serving.config import ModelConfig
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.classification import as_asked
from serving.dataplane.requests.passthrough import with_response_parameters, without_row_axis
from serving.protocol.messages import InferRequest, InferResponse, Tensor


class Responder:
    """Makes the responses of one model version.

    Args:
        name, version: what they are of.
        config: declares the outputs.
    """

    def __init__(self, name: str, version: str, config: ModelConfig) -> None:
        self._name = name
        self._version = version
        self._types = {spec.name: spec.datatype for spec in config.outputs}
        self._classes = {spec.name: spec.classes for spec in config.outputs}
        self._row_axis = config.row_axis
        self._expose_flags = config.expose_flags

    def respond(
        self, request: InferRequest, wanted: tuple[str, ...], answer: Answer
    ) -> InferResponse:
        """Return the response to a request.

        Args:
            request: as it came.
            wanted: names of the outputs that it asks for; empty: all.
            answer: every output of the model, rows of this request only.
        """
        types = self._types
        given = answer.outputs
        if len(types) == 1:  # nearly every model
            [(name, datatype)] = types.items()
            array = given[name]
            outputs: tuple[Tensor, ...] = (Tensor(name, datatype, array.shape, array),)
        else:
            outputs = tuple(
                [
                    Tensor(name, types[name], given[name].shape, given[name])
                    for name in wanted or types
                ]
            )
        version = self._version
        parameters: dict[str, Any] | None = None
        if answer.response_parameters is not None:
            outputs = with_response_parameters(outputs, answer.response_parameters)
            parameters = answer.response_parameters.parameters or None
            version = answer.response_parameters.version or version
        if request.outputs:
            outputs = as_asked(request.outputs, outputs, self._classes)
        if not self._row_axis:
            outputs = without_row_axis(outputs)
        if answer.flags and self._expose_flags:
            parameters = {**(parameters or {}), "vigil_flags": ",".join(answer.flags)}
        return InferResponse(self._name, version, request.id, outputs, parameters)
