"""The three demo models: their data, how they are trained, and in which format they are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from serving.demo import loans, rows
from serving.demo.assemble import VERSION, Splits, assemble
from serving.demo.nets import cancer_net, digits_net, loans_net
from serving.demo.training import Recipe, train
from serving.models.export import save_safetensors, save_torch_export
from serving.models.profile.dataset import Dataset
from serving.models.profile.fit import Progress


def build_digits(folder: Path, progress: Progress) -> None:
    """Make the model `digits` in `folder`: safetensors and a factory, one image input."""
    splits = rows.digits()
    network = train(
        digits_net.DigitsNet,
        lambda _: None,
        [splits.reference.inputs["image"]],
        np.asarray(splits.reference.y_true).astype(np.int64),
        Recipe(epochs=30, batch_size=32, label_smoothing=0.05),
        lambda done, total: progress("digits: training", done, total),
    )
    save_safetensors(network, folder / VERSION, Path(digits_net.__file__))
    assemble(folder, "digits.yaml", splits, _named("digits", progress))


def build_cancer(folder: Path, progress: Progress) -> None:
    """Make the model `cancer` in `folder`: an exported graph, thirty named features."""
    splits = rows.cancer()
    x = splits.reference.inputs["x"]

    def standardise(network: Any) -> None:
        network.mean.copy_(torch.from_numpy(x.mean(axis=0, dtype=np.float64)))
        network.scale.copy_(torch.from_numpy(x.std(axis=0, dtype=np.float64)))

    network = train(
        cancer_net.CancerNet,
        standardise,
        [x],
        _positive(splits.reference, "benign"),
        Recipe(epochs=40, batch_size=32, label_smoothing=0.05),
        lambda done, total: progress("cancer: training", done, total),
    )
    progress("cancer: exporting", 0, 1)
    save_torch_export(network, [torch.from_numpy(x[:2])], folder / VERSION)
    progress("cancer: exporting", 1, 1)
    assemble(folder, "cancer.yaml", splits, _named("cancer", progress))


def build_loans(folder: Path, progress: Progress) -> None:
    """Make the model `loans` in `folder`: mixed inputs, and a disparity to be found."""
    splits = Splits(
        loans.sample_applicants(12_000, seed=1),
        loans.sample_applicants(3_000, seed=2),
        loans.sample_applicants(6_000, seed=3),
    )
    numeric = splits.reference.inputs["numeric"]
    logarithms = np.log1p(numeric.astype(np.float64))

    def standardise(network: Any) -> None:
        network.mean.copy_(torch.from_numpy(logarithms.mean(axis=0)))
        network.scale.copy_(torch.from_numpy(logarithms.std(axis=0)))

    network = train(
        loans_net.LoansNet,
        standardise,
        [numeric, _codes(splits.reference.inputs["categorical"])],
        _positive(splits.reference, "approved"),
        Recipe(epochs=15, batch_size=128),
        lambda done, total: progress("loans: training", done, total),
    )
    save_safetensors(network, folder / VERSION, Path(loans_net.__file__))
    assemble(folder, "loans.yaml", splits, _named("loans", progress))


BUILDERS: Final[dict[str, Callable[[Path, Progress], None]]] = {
    "digits": build_digits,
    "cancer": build_cancer,
    "loans": build_loans,
}
"""What makes each demo model, by its name."""


def _positive(dataset: Dataset, label: str) -> np.ndarray:
    return np.array([name == label for name in np.asarray(dataset.y_true)], dtype=np.int64)


def _codes(categorical: np.ndarray) -> np.ndarray:
    kinds = (loans.PURPOSES, loans.OWNERSHIPS)
    columns = [
        [[name.encode() for name, _, _ in kind].index(value) for value in categorical[:, index]]
        for index, kind in enumerate(kinds)
    ]
    return np.array(columns, dtype=np.int64).T.copy()


def _named(model: str, progress: Progress) -> Progress:
    return lambda what, done, total: progress(f"{model}: {what}", done, total)
