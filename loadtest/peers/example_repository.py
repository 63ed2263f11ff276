"""A repository of models with the names and tensors that Triton's Python examples ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from serving.models.export import save_files

_CODE = Path(__file__).with_name("example_models.py")
_FOUR = ["night", "dusk", "dawn", "day"]


def _tensors(datatype: str, dims: list[int], *names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": n, "datatype": datatype, "shape": [-1, *dims], **more} for n in names]


def _pair(datatype: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    given = _tensors(datatype, [16], "INPUT0", "INPUT1")
    return given, _tensors(datatype, [16], "OUTPUT0", "OUTPUT1")


def _images(layout: str, dims: list[int]) -> list[dict[str, Any]]:
    return _tensors("FP32", dims, "input", format=layout)


def _scores(name: str) -> list[dict[str, Any]]:
    return _tensors("FP32", [4], name, classes=_FOUR)


# By name: the function that makes it, its inputs and its outputs.
MODELS = {
    "simple": ("add_sub", *_pair("INT32")),
    "simple_int8": ("add_sub", *_pair("INT8")),
    "simple_string": ("add_sub_strings", *_pair("BYTES")),
    **{
        name: ("identity", _tensors(kind, [-1], "INPUT0"), _tensors(kind, [-1], "OUTPUT0"))
        for name, kind in {
            "simple_identity": "BYTES",
            "custom_identity_int32": "INT32",
            "identity_fp32": "FP32",
        }.items()
    },
    "wide": (
        "wide",
        _tensors("INT32", [1], "INPUT0"),
        _tensors("INT32", [1], *(f"OUTPUT{number}" for number in range(60))),
    ),
    "inception_graphdef": (
        "brightness", _images("FORMAT_NHWC", [299, 299, 3]), _scores("scores"),
    ),
    "densenet_onnx": (
        "inception",
        _images("FORMAT_NHWC", [299, 299, 3]),
        _scores("InceptionV3/Predictions/Softmax"),
    ),
    "channels_first": ("brightness", _images("FORMAT_NCHW", [3, 40, 30]), _scores("scores")),
    "grey": ("brightness", _images("FORMAT_NHWC", [28, 28, 1]), _scores("scores")),
    "preprocess_inception_ensemble": (
        "sizes", _tensors("BYTES", [1], "INPUT"), _scores("OUTPUT"),
    ),
    "vllm": (
        "echo",
        [*_tensors("BYTES", [], "PROMPT"), *_tensors("BOOL", [], "STREAM")],
        _tensors("BYTES", [], "TEXT"),
    ),
}  # fmt: skip


def write(root: Path, count: int | None = None) -> Path:
    """Write the first `count` models, or all, into the new folder `root`; return it."""
    for name, (function, inputs, outputs) in list(MODELS.items())[:count]:
        save_files(root / name / "1", _CODE)
        settings = {
            "format": "python", "factory": f"{_CODE.stem}:{function}", "trust_code": True,
            "inputs": inputs, "outputs": outputs,
            "monitors": {"drift": None}, "explain": None,
        }  # fmt: skip
        (root / name / "model.yaml").write_text(yaml.safe_dump(settings))
    return root
