"""The bodies that are sent: rows as JSON inferences, and labels of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from serving.demo.traffic.applicants import Applicants

_encode = msgspec.json.Encoder().encode
_DATATYPE: Final = "FP32"


class _Output(msgspec.Struct):
    shape: tuple[int, ...]
    data: list[float]


class _Answer(msgspec.Struct):
    outputs: tuple[_Output, ...]


_decode = msgspec.json.Decoder(_Answer).decode


def numbers(name: str, rows: np.ndarray) -> dict[str, Any]:
    """Return an input of numbers, of any shape with rows first."""
    return {
        "name": name,
        "shape": list(rows.shape),
        "datatype": _DATATYPE,
        "data": rows.ravel().tolist(),
    }


def inference(inputs: Sequence[dict[str, Any]]) -> bytes:
    """Return the body of an inference."""
    return _encode({"inputs": inputs})


def of_applicants(rows: Applicants, ident: str) -> bytes:
    """Return the body that asks for credits, with the applicants' sex beside it."""
    words = [word.decode() for word in rows.categorical.ravel().tolist()]
    categorical = {
        "name": "categorical",
        "shape": list(rows.categorical.shape),
        "datatype": "BYTES",
        "data": words,
    }
    sex = _encode({"sex": rows.sex.tolist()}).decode()
    return _encode(
        {
            "id": ident,
            "parameters": {"sensitive_features": sex},
            "inputs": [numbers("numeric", rows.numeric), categorical],
        }
    )


def approved(answer: bytes) -> np.ndarray:
    """Return of each applicant whether the model would give a credit, bool [n].

    Raises:
        msgspec.MsgspecError: it is no answer of the model `loans`.
    """
    output = _decode(answer).outputs[0]
    found: np.ndarray = np.array(output.data).reshape(output.shape).argmax(axis=1) == 1
    return found


def labels(ident: str, y_true: np.ndarray) -> list[dict[str, Any]]:
    """Return the labels of a request's rows."""
    return [
        {"id": ident, "index": index, "y_true": truth}
        for index, truth in enumerate(y_true.tolist())
    ]


def label_body(given: Sequence[dict[str, Any]]) -> bytes:
    """Return the body that pushes labels."""
    return _encode({"labels": given})
