"""Explanations of logged predictions: what is asked, and why there may be none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.channel.messages.explanation import ExplainReply
from serving.channel.messages.observation import (
    LOGGED_INPUTS,
    LoggedInputsMeta,
    LoggedInputsReply,
    PredictionsMeta,
)
from serving.config import ModelConfig
from serving.dataplane.context import NO_CONTEXT
from serving.dataplane.requests.binding import Binder
from serving.errors import (
    InvalidInput,
    NoLongerThere,
    NotFound,
    VersionGone,
    VersionNotFound,
    VigilError,
)
from serving.gateway.extensions.logged_explanations import (
    MOST_ROWS,
    Reference,
    explain_logged,
    reference_in,
    reference_of,
)
from serving.gateway.grpc.extensions import explain
from serving.protocol.messages import Tensor
from serving.protocol.pb import open_inference_pb2 as pb

LOGGED = Tensor("x", "FP32", (1, 2), np.array([[1.5, 2.5]], np.float32))
REPLY = ExplainReply("kernel_shap", (1,), "zeros", {"n_samples": 6})
CONFIG = ModelConfig.model_validate(
    {
        "format": "torch_export",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        "monitors": {"drift": None},
    }
)


class Plane:
    """A model of two versions, a monitor that knows a prediction of version 1, an explainer."""

    def __init__(self) -> None:
        self.publisher = self.explainers = self
        self.made_by = LoggedInputsReply("1", "abc")
        self.asked: list[Any] = []
        self.explained: list[Any] = []

    def resolve(self, name: str) -> None:
        assert name == "m"

    async def request(self, kind: str, meta: Any, *, model: str) -> Any:
        assert model == "m"
        self.asked.append((kind, meta))
        return SimpleNamespace(meta=msgspec.msgpack.encode(self.made_by), tensors=[LOGGED])

    def served_version(self, name: str, version: str) -> Any:
        if version not in ("1", "2"):
            raise VersionNotFound("no such version")
        return SimpleNamespace(
            name=name, version=version, key=(name, version, "abc"), config=CONFIG, spans=None,
            binder=Binder(name, CONFIG), specs={spec.name: spec for spec in CONFIG.inputs},
        )  # fmt: skip

    async def explain(self, name: str, version: str, meta: Any, tensors: Any) -> Any:
        self.explained.append((name, version, meta, tensors))
        return SimpleNamespace(meta=msgspec.msgpack.encode(REPLY), tensors=[LOGGED])


@pytest.fixture
def fake() -> Any:
    return Plane()


def explained(plane: Any, version: str = "", **given: Any) -> Any:
    return explain_logged(plane, "m", version, Reference("r1", **given), "h1", NO_CONTEXT)


async def test_the_rows_are_explained_by_the_version_that_made_them(fake):
    request, answer = await explained(fake, index=3, parameters={"method": "kernel_shap"})
    assert fake.asked == [
        (LOGGED_INPUTS, LoggedInputsMeta(PredictionsMeta("m", "r1", 3), MOST_ROWS))
    ]
    [(name, version, meta, [tensor])] = fake.explained
    assert (name, version, meta.method) == ("m", "1", "kernel_shap")
    assert tensor.data.tolist() == [[1.5, 2.5]]
    assert (answer.model_version, answer.id, request.id) == ("1", "h1", "h1")
    request, _ = await explained(fake, "1", id="own")
    assert request.id == "own"


@pytest.mark.parametrize(
    ("made_by", "version", "error", "says"),
    [
        (("7", "abc"), "", VersionGone, "version 7 of model 'm', which made this prediction, is"),
        (("1", "old"), "", VersionGone, "other files or another configuration now"),
        (("1", "abc"), "2", InvalidInput, "version 1 made this prediction, not 2; name"),
    ],
)
async def test_another_version_does_not_explain_it(fake, made_by, version, error, says):
    fake.made_by = LoggedInputsReply(*made_by)
    with pytest.raises(error, match=says):
        await explained(fake, version)
    assert fake.explained == []


async def test_a_revision_that_nobody_knows_is_no_other(fake):
    fake.made_by = LoggedInputsReply("1", "")
    await explained(fake)
    assert len(fake.explained) == 1


async def test_grpc_names_it_in_parameters(fake):
    message = pb.ModelInferRequest(model_name="m", id="g1")
    message.parameters["request_id"].string_param = "r1"
    message.parameters["index"].int64_param = 2
    message.parameters["method"].string_param = "kernel_shap"
    answer = await explain(fake, message, NO_CONTEXT)
    assert fake.asked[0][1].rows == PredictionsMeta("m", "r1", 2)
    assert fake.explained[0][2].method == "kernel_shap"
    assert (answer.model_version, answer.id) == ("1", "g1")


@pytest.mark.parametrize("parameters", [{"request_id": 1}, {"request_id": "r", "index": "1"}])
def test_parameters_that_are_wrong(parameters):
    with pytest.raises(InvalidInput, match=r"^explain: Expected"):
        reference_of(parameters, "")


@pytest.mark.parametrize(
    "body",
    [b"", b'{"inputs": []}', b'{"inputs": [], "parameters": {"request_id": "r"}}',
     b'{"request_id": "r", "id": "%s"}' % (b"x" * 70_000)],
)  # fmt: skip
def test_bodies_that_refer_to_nothing(body):
    assert reference_in(body) is None


def test_bodies_that_refer_to_a_request():
    body = b'{"request_id": "r", "index": 1, "parameters": {"method": "auto"}, "id": "i"}'
    assert reference_in(body) == Reference("r", 1, "i", {"method": "auto"})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"request_id": 7}', "Expected 'str'"),
        (b'{"request_id": ""}', "length >= 1"),
        (b'{"request_id": "r", "index": -1}', ">= 0"),
        (b'{"request_id": "r", "inputs": []}', "not both"),
        (b'{"request_id": "r", "request_id": "s"}', "request_id"),
        (b'{"request_id"', "explain: "),
        (b'["request_id"]', "explain: "),
    ],
)
def test_bodies_that_are_wrong(body, says):
    with pytest.raises(InvalidInput) as caught:
        reference_in(body)
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("error", "status"), [(NotFound, 404), (VersionGone, 409), (NoLongerThere, 410)]
)
async def test_http_says_why_there_is_none(
    plane, monkeypatch, ask, error: type[VigilError], status
):
    async def refuse(_kind: str, _meta: Any, *, model: str) -> Any:
        assert model == "m"
        raise error("because")

    monkeypatch.setattr(plane.publisher, "request", refuse)
    answer = await ask("POST", "/v2/models/m/explain", b'{"request_id": "r"}')
    assert (answer.status, answer.json()) == (status, {"error": "because"})
