"""Builds the folders of the raced model as Vigil serves it: with its checks, and without.

Run as a module in a process of its own (`python -m loadtest.vigil_model DIR`), so that torch
never sits in the memory of the process that measures.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import yaml

from loadtest import image, mlp, vigil_image
from serving.models.export import save_safetensors
from serving.models.profile.dataset import Dataset, write_dataset
from serving.models.profile.fit import fit_profile
from serving.models.repository.folder import ModelRepository

_NET = Path(__file__).with_name("vigil_net.py")
_REFERENCE_ROWS = 4000


def config(
    checks: bool,
    batching: dict[str, int] | None = None,
    *,
    fairness: bool = False,
    guards: bool = True,
) -> dict[str, object]:
    """Return `model.yaml`; with `checks`: drift and, unless they are left out, guards."""
    x: dict[str, object] = {"name": mlp.INPUT, "datatype": "FP32", "shape": [-1, mlp.WIDTHS[0]]}
    if checks:
        x["features"] = [{"name": f"x{i}", "min": -10, "max": 10} for i in range(mlp.WIDTHS[0])]
    output = {"name": mlp.OUTPUT, "datatype": "FP32", "shape": [-1, 2], "classes": ["a", "b"]}
    guarded = [
        {"name": "schema", "action": "reject"},
        {"name": "mahalanobis", "action": "flag", "false_positive_rate": 0.05},
    ]
    return {
        "format": "safetensors",
        "factory": f"{_NET.stem}:build",
        "trust_code": True,
        "inputs": [x],
        "outputs": [output],
        "example": "example.json",
        "replicas": {"device": "cpu", "cores": 1},
        "batching": batching or {},
        "guards": guarded if checks and guards else [],
        "monitors": {"drift": {"window": 1000}} if checks else {"drift": None, "performance": None},
        "fairness": {"sensitive": ["group"], "favorable": "a"} if fairness else None,
    }


def build(
    folder: Path,
    checks: bool,
    batching: dict[str, int] | None = None,
    *,
    fairness: bool = False,
    guards: bool = True,
) -> None:
    """Write `<folder>/mlp` with weights, configuration, example and, for checks, the profile."""
    model = folder / mlp.MODEL
    model.mkdir(parents=True, exist_ok=True)
    save_safetensors(_module(), model / "1", _NET)
    (model / "model.yaml").write_text(
        yaml.safe_dump(config(checks, batching, fairness=fairness, guards=guards), sort_keys=False)
    )
    (model / "example.json").write_bytes(mlp.json_body(mlp.rows(2)).data)
    if not checks:
        return
    entry = ModelRepository(folder).get(mlp.MODEL)
    reference, heldout = model / "1" / "reference.parquet", model / "1" / "heldout.parquet"
    for path, seed in ((reference, 100), (heldout, 101)):
        data = Dataset({mlp.INPUT: mlp.rows(_REFERENCE_ROWS, seed)})
        write_dataset(path, data, entry.config)
    fit_profile(entry, reference, heldout)


def build_image(folder: Path) -> None:
    """Write `<folder>/image`, which has no checks: it is about moving bytes."""
    model = folder / image.MODEL
    model.mkdir(parents=True, exist_ok=True)
    save_safetensors(vigil_image.build(), model / "1", Path(vigil_image.__file__))
    tensor = {"name": image.INPUT, "datatype": "FP32", "shape": [-1, *image.SHAPE]}
    config = {
        "format": "safetensors",
        "factory": "vigil_image:build",
        "trust_code": True,
        "inputs": [tensor],
        "outputs": [{"name": image.OUTPUT, "datatype": "FP32", "shape": [-1, 3]}],
        "replicas": {"device": "cpu", "cores": 1},
        "batching": {"max_batch_size": 32},
        "monitors": {"drift": None, "performance": None},
        "explain": None,
    }
    (model / "model.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def _module() -> torch.nn.Module:
    from loadtest import vigil_net

    module = vigil_net.build()
    module.load_state_dict({key: torch.from_numpy(a) for key, a in mlp.weights().items()})
    right = mlp.expected(mlp.rows(3))
    with torch.inference_mode():
        assert np.allclose(module(torch.from_numpy(mlp.rows(3))).numpy(), right, atol=1e-5)
    return module


if __name__ == "__main__":
    home = Path(sys.argv[1])
    build(home / "off", checks=False)
    build(home / "on", checks=True)
    build(home / "asleep", checks=False, batching={"busy_poll_us": 0})
    build(home / "record", checks=True, fairness=True)
    build(home / "record-unguarded", checks=True, fairness=True, guards=False)
    for name in ("off", "on", "asleep", "record", "record-unguarded"):
        build_image(home / name)
