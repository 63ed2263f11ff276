import textwrap

import numpy as np
import torch

from serving.models import export
from serving.models.export import save_safetensors, save_torch_export
from serving.models.formats.loader import load
from serving.models.repository.folder import ModelRepository

TWO_INPUTS = """
format: torch_export
inputs:
  - {name: a, datatype: FP32, shape: [-1, 2]}
  - {name: b, datatype: INT64, shape: [-1]}
outputs:
  - {name: sum, datatype: FP32, shape: [-1, 2]}
  - {name: code, datatype: INT64, shape: [-1]}
"""


class TwoInputs(torch.nn.Module):
    def forward(self, a, b):
        return a + b[:, None], b

    def forward_with_features(self, a, b):
        return self.forward(a, b), a


def test_the_documented_example_is_enough(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = textwrap.dedent(export.__doc__.split("version:\n", 1)[1])
    code = f"from pathlib import Path\n{example}"
    module = torch.nn.Linear(4, 3)
    exec(code, {"module": module, "torch": torch, "save_torch_export": save_torch_export})
    entry = ModelRepository(tmp_path / "models").get("mine")
    outputs = load(entry, "cpu").predict({"x": np.ones((5, 4), np.float32)})
    expected = module(torch.ones(5, 4)).detach().numpy()
    np.testing.assert_allclose(outputs["y"], expected, rtol=1e-6)


def test_several_inputs_and_outputs_with_features(tmp_path):
    examples = [torch.ones(2, 2), torch.arange(2)]
    save_torch_export(TwoInputs(), examples, tmp_path / "two" / "1")
    (tmp_path / "two" / "model.yaml").write_text(TWO_INPUTS)
    model = load(ModelRepository(tmp_path).get("two"), "cpu")
    for rows in (1, 3):
        a, b = np.ones((rows, 2), np.float32), np.arange(rows)
        prediction = model.predict_with_features({"b": b, "a": a})
        np.testing.assert_array_equal(prediction.outputs["sum"], a + b[:, None])
        np.testing.assert_array_equal(prediction.outputs["code"], b)
        np.testing.assert_array_equal(prediction.features, a)
    assert not model.capabilities.differentiable


def test_weights_can_be_read_by_others(tmp_path):
    source = tmp_path / "net.py"
    source.write_text("")
    save_safetensors(torch.nn.Linear(2, 2), tmp_path / "1", source)
    assert (tmp_path / "1" / "model.safetensors").stat().st_mode & 0o044 == 0o044
