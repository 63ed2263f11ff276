"""Code of the models that Triton's examples ask: the same names, tensors and answers.

One file for all of them; each `model.yaml` names its function.
"""

import numpy as np


class Model:
    """Answers with what a function makes of the inputs."""

    def __init__(self, function):
        self._function = function

    def predict(self, inputs):
        return self._function(inputs)


def add_sub():
    return Model(
        lambda given: {
            "OUTPUT0": given["INPUT0"] + given["INPUT1"],
            "OUTPUT1": given["INPUT0"] - given["INPUT1"],
        }
    )


def _numbers(texts):
    # Empty is what a model that declares no example is warmed up with.
    return np.array([int(text or 0) for text in texts.ravel()]).reshape(texts.shape)


def _texts(numbers):
    texts = np.empty(numbers.shape, object)
    texts.ravel()[:] = [str(number).encode() for number in numbers.ravel().tolist()]
    return texts


def add_sub_strings():
    def answer(given):
        one, other = (_numbers(given[name]) for name in ("INPUT0", "INPUT1"))
        return {"OUTPUT0": _texts(one + other), "OUTPUT1": _texts(one - other)}

    return Model(answer)


def identity():
    return Model(lambda given: {"OUTPUT0": given["INPUT0"]})


def wide():
    return Model(lambda given: {f"OUTPUT{n}": given["INPUT0"] + n for n in range(60)})


def _by_brightness(images):
    mean = images.reshape(len(images), -1).mean(1, keepdims=True)
    return np.hstack([mean, 1 - mean, mean * 0, mean * 0 + 0.5]).astype("f4")


def brightness():
    """Scores for four classes of an image, by how bright it is."""
    return Model(lambda given: {"scores": _by_brightness(given["input"])})


def inception():
    """The same, with the output's name in a graph of TensorFlow."""
    name = "InceptionV3/Predictions/Softmax"
    return Model(lambda given: {name: _by_brightness(given["input"])})


def sizes():
    """Scores for four classes of encoded images, by how long they are."""

    def answer(given):
        length = np.array([[len(image)] for image in given["INPUT"][:, 0]], "f4")
        return {"OUTPUT": np.hstack([length, length * 0, length * 0 + 1, -length]).astype("f4")}

    return Model(answer)
