from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from serving.models.export import save_safetensors, save_torch_export
from serving.models.repository import ModelEntry, ModelRepository

TOY_CONFIG = """
format: {format}
{code}
inputs:
  - {{name: x, datatype: FP32, shape: [-1, 3]}}
outputs:
  - {{name: y, datatype: FP32, shape: [-1, 2]}}
"""

TOY_NET = """
import torch

class Toy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)

    def forward(self, x):
        {body}

def build():
    return Toy()
"""

MakeModel = Callable[..., ModelEntry]


@pytest.fixture
def make_factory_model(tmp_path: Path) -> MakeModel:
    """Makes a model of format safetensors out of the body of its `forward(self, x)`."""

    def make(
        body: str = "return self.linear(x)", config: str = "", name: str = "toy"
    ) -> ModelEntry:
        source = tmp_path / f"{name}-source" / "net.py"
        source.parent.mkdir()
        source.write_text(TOY_NET.format(body=body))
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        default = TOY_CONFIG.format(
            format="safetensors", code="factory: net:build\ntrust_code: true"
        )
        (folder / "model.yaml").write_text(config or default)
        torch.manual_seed(0)
        network = torch.nn.Module()
        network.linear = torch.nn.Linear(3, 2)
        save_safetensors(network, folder / "1", source)
        return ModelRepository(tmp_path / "models").get(name)

    return make


@pytest.fixture
def make_exported_model(tmp_path: Path) -> MakeModel:
    """Makes a model of format torch_export out of a module of one input `x` [-1, 3]."""

    def make(module: torch.nn.Module, config: str = "", name: str = "exported") -> ModelEntry:
        folder = tmp_path / "models" / name
        save_torch_export(module, [torch.ones(2, 3)], folder / "1")
        default = TOY_CONFIG.format(format="torch_export", code="")
        (folder / "model.yaml").write_text(config or default)
        return ModelRepository(tmp_path / "models").get(name)

    return make
