"""Names and values that a client sends to torch and Python models, over HTTP and gRPC."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import tritonclient.grpc
import tritonclient.http

from serving.models.export import save_files, save_safetensors, save_torch_export

pytestmark = pytest.mark.e2e

LM = '''
"""A language model as most are: its embedding and its head are one weight."""
from torch import nn

class Lm(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids, mask):
        return {"logits": self.head(self.embed(ids)), "kept": ids * mask}

def build():
    return Lm()
'''
LM_CONFIG = """
format: safetensors
factory: lm:build
trust_code: true
inputs:
  - {name: mask, datatype: INT64, shape: [-1, 3]}
  - {name: ids, datatype: INT64, shape: [-1, 3]}
outputs:
  - {name: kept, datatype: INT64, shape: [-1, 3]}
  - {name: logits, datatype: FP32, shape: [-1, 3, 50]}
batching: {max_queue_delay_us: 300000, max_batch_size: 3}
monitors: {drift: null}
explain: null
"""
CHECKED = """
from serving.errors import InvalidInput

class Checked:
    def predict(self, inputs):
        x = inputs["x"]
        if (x < 0).any():
            raise InvalidInput("input 'x': a length is not negative; send 0 or more")
        if (x > 100).any():
            raise RuntimeError("too long")
        return {"y": x * 2}
"""
CHECKED_CONFIG = """
format: python
factory: checked:Checked
trust_code: true
inputs: [{name: x, datatype: FP32, shape: [-1, 2]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]
monitors: {drift: null}
"""
PICKS_CONFIG = """
format: torch_export
inputs: [{name: table, datatype: FP32, shape: [-1, 1]}, {name: x, datatype: FP32, shape: [-1, 1]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 1]}]
monitors: {drift: null}
explain: {method: integrated_gradients}
"""


class Picks(torch.nn.Module):
    """Takes a row of its own by the number that an input holds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rows", torch.arange(1.0, 5.0)[:, None])

    def forward(self, x: torch.Tensor, table: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"more": table, "y": self.rows[table[:, 0].long()] * x + table}


@pytest.fixture(scope="module")
def server(running: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("names")
    models = root / "models"
    (root / "lm.py").write_text(LM)
    scope: dict[str, Any] = {}
    exec(LM, scope)
    save_safetensors(scope["build"](), models / "lm" / "1", root / "lm.py")
    (root / "checked.py").write_text(CHECKED)
    save_files(models / "checked" / "1", root / "checked.py")
    one = torch.ones(2, 1)
    save_torch_export(Picks(), [one, one], models / "picks" / "1")
    for name, config in (("lm", LM_CONFIG), ("checked", CHECKED_CONFIG), ("picks", PICKS_CONFIG)):
        (models / name / "model.yaml").write_text(config)
    with running(models, tmp_path_factory.mktemp("run"), "local") as started:
        yield started


TRANSPORTS = [tritonclient.http, tritonclient.grpc]


def ask(server: Any, transport: ModuleType, model: str, **arrays: np.ndarray) -> Any:
    url = server.url.removeprefix("http://") if transport is tritonclient.http else server.grpc
    inputs = []
    for name, array in arrays.items():
        datatype = "INT64" if array.dtype == np.int64 else "FP32"
        inputs.append(transport.InferInput(name, list(array.shape), datatype))
        inputs[-1].set_data_from_numpy(array)
    with transport.InferenceServerClient(url) as client:
        return client.infer(model, inputs)


def refused(transport: ModuleType) -> str:
    return "400" if transport is tritonclient.http else "StatusCode.INVALID_ARGUMENT"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_tensors_have_the_names_of_the_network(server: Any, transport: ModuleType) -> None:
    ids, mask = np.array([[7, 8, 9]]), np.array([[1, 0, 2]])
    answer = ask(server, transport, "lm", ids=ids, mask=mask)
    assert answer.as_numpy("kept").tolist() == [[7, 0, 18]]
    assert answer.as_numpy("logits").shape == (1, 3, 50)
    x, table = np.array([[10.0]], np.float32), np.array([[3.0]], np.float32)
    assert ask(server, transport, "picks", x=x, table=table).as_numpy("y").tolist() == [[43.0]]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_index_out_of_range_is_refused_and_the_rest_of_the_batch_goes_on(
    server: Any, transport: ModuleType
) -> None:
    def one(token: int) -> Any:
        try:
            return ask(
                server, transport, "lm", ids=np.full((1, 3), token), mask=np.ones((1, 3), int)
            )
        except tritonclient.utils.InferenceServerException as error:
            return error

    with ThreadPoolExecutor(3) as pool:
        good, bad, last = pool.map(one, [1, 50, 49])
    assert good.as_numpy("kept").tolist() == [[1, 1, 1]]
    assert last.as_numpy("kept").tolist() == [[49, 49, 49]]
    assert bad.status() == refused(transport)
    assert "model 'lm': input 'mask' or 'ids' holds an index that is out of" in bad.message()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_a_python_model_refuses_is_not_what_it_fails_on(
    server: Any, transport: ModuleType
) -> None:
    def one(value: float) -> Any:
        with pytest.raises(tritonclient.utils.InferenceServerException) as caught:
            ask(server, transport, "checked", x=np.full((1, 2), value, np.float32))
        return caught.value

    found = one(-1)
    assert found.status() == refused(transport)
    assert found.message() == "input 'x': a length is not negative; send 0 or more"
    assert one(101).status() in ("500", "StatusCode.INTERNAL")


def explain(server: Any, model: str, **values: float) -> httpx.Response:
    inputs = [
        {"name": name, "shape": [1, 1], "datatype": "FP32", "data": [value]}
        for name, value in values.items()
    ]
    url = f"{server.url}/v2/models/{model}/explain"
    return httpx.post(url, json={"inputs": inputs}, timeout=120)


def test_explanations_bind_and_refuse_alike(server: Any, when_ready: Callable[..., Any]) -> None:
    good = when_ready(lambda: explain(server, "picks", x=2, table=0))
    assert good.status_code == 200, good.text
    shares = {each["name"]: each["data"] for each in good.json()["outputs"]}
    np.testing.assert_allclose(shares["attribution:x"], [2.0], rtol=1e-4)
    bad = explain(server, "picks", x=2, table=9)
    assert bad.status_code == 400
    assert "model 'picks': input 'table' or 'x' holds an index" in bad.json()["error"]
