from pathlib import Path

import torch

from serving.models.export import save_safetensors

TOY_NET = """
import torch

def build():
    return torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
"""
TOY_CONFIG = """
format: safetensors
factory: net:build
trust_code: true
inputs: [{name: x, datatype: FP32, shape: [-1, 3]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]
example: example.json
precision: int8-dynamic
"""
TOY_EXAMPLE = '{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}'


def test_check_shows_names_that_a_terminal_would_obey_as_escapes(vigil, tmp_path: Path) -> None:
    folder = tmp_path / "two\nlines\x1b[2J"
    folder.mkdir()
    (folder / "model.yaml").write_text("format: onnx")
    done = vigil("check", "--models", str(tmp_path))
    assert done.returncode == 1
    assert r"two\nlines\x1b[2J" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


def test_check_prints_what_a_conversion_changes_and_refuses_too_much(vigil, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    (tmp_path / "net.py").write_text(TOY_NET)
    folder = tmp_path / "models" / "toy"
    save_safetensors(net, folder / "1", tmp_path / "net.py")
    (folder / "example.json").write_text(TOY_EXAMPLE)
    (folder / "model.yaml").write_text(TOY_CONFIG + "precision_tolerance: 0.5\n")
    done = vigil("check", "--models", str(tmp_path / "models"))
    assert done.returncode == 0
    assert "toy version 1: with precision int8-dynamic output 'y' deviates by" in done.stdout
    (folder / "model.yaml").write_text(TOY_CONFIG + "precision_tolerance: 1e-9\n")
    done = vigil("check", "--models", str(tmp_path / "models"))
    assert done.returncode == 1
    assert "1e-09 allowed; raise precision_tolerance" in done.stderr
    assert "Traceback" not in done.stderr
    (folder / "model.yaml").write_text(TOY_CONFIG)
    (tmp_path / "models" / "empty").mkdir()
    done = vigil("check", "--models", str(tmp_path / "models"))
    assert done.returncode == 1
    assert "model.yaml" in done.stderr  # of the empty one, and the other is checked all the same
    assert "toy version 1: fine" in done.stdout
