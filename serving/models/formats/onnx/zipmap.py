"""Outputs of the operator ZipMap: a map from class to score for each row, served as a table.

Converters of scikit-learn, LightGBM and XGBoost write one unless they are told not to. Numbers of
fields are those of `onnx.proto`.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import numpy as np

from serving.config import ConfigError, OutputSpec
from serving.models.formats.protobuf_walk import Damaged, Field, Walk

Labels = list[str] | list[int]
"""The classes of a ZipMap, ascending."""

ZIPMAP: Final = "seq(map("
"""How the type of such an output begins in ONNX Runtime."""

_MOST_CLASSES: Final = 1 << 16

_GRAPH: Final = 7
_NODE: Final = 1
_NODE_OUTPUT, _OPERATOR, _ATTRIBUTE = 2, 4, 5
_INTEGERS, _TEXTS = 8, 9


def zipmap_labels(walk: Walk) -> dict[str, Labels]:
    """Return the classes of every ZipMap of a graph's file by the name of its output.

    Raises:
        Damaged: the file is no graph, or has too many parts.
    """
    return {
        walk.text(output): _labels(walk, node)
        for graph in walk.inside(walk.whole(), _GRAPH)
        for node in walk.inside(graph, _NODE)
        if any(walk.text(field) == "ZipMap" for field in walk.inside(node, _OPERATOR))
        for output in walk.inside(node, _NODE_OUTPUT)
    }


def _labels(walk: Walk, node: Field) -> Labels:
    numbers: set[int] = set()
    texts: set[str] = set()
    for attribute in walk.inside(node, _ATTRIBUTE):
        for field in walk.inside(attribute, _INTEGERS, _TEXTS):
            if field.number == _TEXTS:
                texts.add(walk.text(field))
            elif field.value is not None:
                numbers.add(field.value - (field.value >> 63 << 64))  # two's complement
            if len(numbers) + len(texts) > _MOST_CLASSES:
                raise Damaged("a ZipMap has too many classes")
    return sorted(texts) if texts else sorted(numbers)


def class_order(path: Path, spec: OutputSpec, labels: Labels) -> Labels:
    """Return `labels`, of the graph at `path`, in the order in which `spec` declares its classes.

    Numbers may be declared by any names: those are then the names of the ascending numbers.

    Raises:
        ConfigError: the declared classes, datatype or shape are not those of the graph.
    """
    where = f"{path}: output '{spec.name}'"
    if not labels:
        raise ConfigError(
            f"{where}: maps classes to scores, and the graph does not tell which classes; export "
            f"it without (skl2onnx: `options={{'zipmap': False}}`, onnxmltools: `zipmap=False`)"
        )
    if spec.datatype != "FP32" or len(spec.shape) != 2 or spec.shape[1] not in (-1, len(labels)):
        raise ConfigError(
            f"{where}: has {len(labels)} classes, model.yaml declares {spec.datatype} "
            f"{spec.shape}; write `datatype: FP32, shape: [-1, {len(labels)}]`"
        )
    by_name: dict[str, Any] = {str(label): label for label in labels}
    if not spec.classes or (isinstance(labels[0], int) and by_name.keys() != set(spec.classes)):
        return labels
    if sorted(by_name) != sorted(spec.classes):
        raise ConfigError(
            f"{where}: the graph's classes are {', '.join(by_name)}, model.yaml declares "
            f"{', '.join(spec.classes)}"
        )
    return [by_name[name] for name in spec.classes]


def as_table(maps: Sequence[dict[Any, float]], labels: Labels) -> np.ndarray:
    """Return the scores of each map in the order of `labels`, float32 [rows, classes]."""
    scores = itemgetter(*labels)
    return np.array([scores(row) for row in maps], np.float32).reshape(len(maps), len(labels))
