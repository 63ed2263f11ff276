"""Code of the models that Triton's examples ask: the same names, tensors and answers.

One file for all of them, copied into each model's folder; each `model.yaml` names its function
(`loadtest.peers.example_repository`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Tensors = dict[str, np.ndarray]


class Model:
    """Answers with what a function makes of the inputs."""

    def __init__(self, function: Callable[[Tensors], Tensors]) -> None:
        self._function = function

    def predict(self, inputs: Tensors) -> Tensors:
        """Return the outputs by name, a row for each row of the inputs."""
        return self._function(inputs)


def add_sub() -> Model:
    """Sum and difference of two tensors of numbers."""
    return Model(
        lambda given: {
            "OUTPUT0": given["INPUT0"] + given["INPUT1"],
            "OUTPUT1": given["INPUT0"] - given["INPUT1"],
        }
    )


def _numbers(texts: np.ndarray) -> np.ndarray:
    # Empty is what a model that declares no example is warmed up with.
    return np.array([int(text or 0) for text in texts.ravel()]).reshape(texts.shape)


def _texts(numbers: np.ndarray) -> np.ndarray:
    texts = np.empty(numbers.shape, object)
    texts.ravel()[:] = [str(number).encode() for number in numbers.ravel().tolist()]
    return texts


def add_sub_strings() -> Model:
    """The same for numbers that are written as texts."""

    def answer(given: Tensors) -> Tensors:
        one, other = (_numbers(given[name]) for name in ("INPUT0", "INPUT1"))
        return {"OUTPUT0": _texts(one + other), "OUTPUT1": _texts(one - other)}

    return Model(answer)


def identity() -> Model:
    """Answers a tensor with itself."""
    return Model(lambda given: {"OUTPUT0": given["INPUT0"]})


def wide() -> Model:
    """Has so many outputs that what is told about it is long."""
    return Model(lambda given: {f"OUTPUT{n}": given["INPUT0"] + n for n in range(60)})


def _by_brightness(images: np.ndarray) -> np.ndarray:
    mean = images.reshape(len(images), -1).mean(1, keepdims=True)
    return np.hstack([mean, 1 - mean, mean * 0, mean * 0 + 0.5]).astype("f4")


def brightness() -> Model:
    """Scores for four classes of an image, by how bright it is."""
    return Model(lambda given: {"scores": _by_brightness(given["input"])})


def inception() -> Model:
    """The same, with the output's name in a graph of TensorFlow."""
    name = "InceptionV3/Predictions/Softmax"
    return Model(lambda given: {name: _by_brightness(given["input"])})


def sizes() -> Model:
    """Scores for four classes of encoded images, by how long they are."""

    def answer(given: Tensors) -> Tensors:
        length = np.array([[len(image)] for image in given["INPUT"][:, 0]], "f4")
        return {"OUTPUT": np.hstack([length, length * 0, length * 0 + 1, -length]).astype("f4")}

    return Model(answer)


def echo() -> Model:
    """Answers a text with itself, where a language model would go on with it."""
    return Model(lambda given: {"TEXT": given["PROMPT"]})
