"""Requests for explanations: what is refused, what is asked of the explainer, what is answered."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.channel.messages.explanation import ExplainMeta, ExplainReply
from serving.config import ModelConfig
from serving.dataplane.context import GRPC, HTTP, NO_CONTEXT, RequestContext
from serving.dataplane.hooks.request_spans import RequestSpans, RequestTraces
from serving.errors import InvalidInput, Unsupported
from serving.gateway.extensions.explanations import explain_request
from serving.protocol.messages import InferRequest, Tensor
from serving.telemetry.sampling import Sampler
from serving.telemetry.span import Span

REQUEST = InferRequest("m", "", "r7", ())
ATTRIBUTIONS = Tensor("x", "FP32", (1, 2), np.zeros((1, 2), np.float32))


class Plane:
    """One model, and an explainer that remembers what it was asked."""

    def __init__(self, reply: ExplainReply | None = None, **config: Any) -> None:
        self.asked: list[tuple[str, str, ExplainMeta, list[Tensor]]] = []
        self.explainers = self
        self.spans: Any = None
        self._reply = reply or ExplainReply("kernel_shap", (1, 0), "mean", {"n_samples": 6})
        spec = {"datatype": "FP32", "shape": [-1, 2]}
        self._config = ModelConfig.model_validate(
            {
                "format": "torch_export",
                "inputs": [{"name": "x", **spec}],
                "outputs": [{"name": "y", **spec}],
                "monitors": {"drift": None},
                **config,
            }
        )

    def served_version(self, name: str, _version: str) -> Any:
        bound = SimpleNamespace(arrays=[np.ones((1, 2), np.float32)], rows=1)
        binder = SimpleNamespace(bind=lambda _request: bound, input_names=["x"])
        specs = {spec.name: spec for spec in self._config.inputs}
        return SimpleNamespace(
            name=name,
            version="2",
            config=self._config,
            binder=binder,
            specs=specs,
            spans=self.spans,
        )

    async def explain(
        self, name: str, version: str, meta: ExplainMeta, tensors: list[Tensor]
    ) -> Any:
        self.asked.append((name, version, meta, tensors))
        return SimpleNamespace(meta=msgspec.msgpack.encode(self._reply), tensors=[ATTRIBUTIONS])


def asking(**parameters: Any) -> InferRequest:
    return msgspec.structs.replace(REQUEST, parameters=parameters)


async def test_what_is_asked_and_answered() -> None:
    plane: Any = Plane()
    request = asking(method="kernel_shap", target="cat", baseline="zeros", n_samples=8)
    answer = await explain_request(plane, request, NO_CONTEXT)
    ((name, version, meta, (tensor,)),) = plane.asked
    assert (name, version, tensor.name) == ("m", "2", "x")
    assert meta == ExplainMeta("kernel_shap", "cat", "zeros", {"n_samples": 8}, timeout_s=60)
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "2", "r7")
    assert answer.outputs == (ATTRIBUTIONS,)
    assert answer.parameters == {
        "method": "kernel_shap", "baseline": "mean", "n_samples": 6, "target": "1,0",
    }  # fmt: skip


async def test_the_version_of_another_server_is_told() -> None:
    plane: Any = Plane(ExplainReply("kernel_shap", (0,), "mean", version="9"))
    assert (await explain_request(plane, REQUEST, NO_CONTEXT)).model_version == "9"


@pytest.mark.parametrize(
    ("parameters", "within_s", "most_s"),
    [({}, None, 30), ({}, 20, 20), ({}, 90, 30), ({"timeout": 5_000_000}, 20, 5), ({}, 0, 0)],
)
async def test_the_earliest_limit_counts(
    parameters: dict[str, Any], within_s: float | None, most_s: float
) -> None:
    plane: Any = Plane(explain={"max_seconds": 30})
    deadline = None if within_s is None else time.monotonic() + within_s
    await explain_request(plane, asking(**parameters), RequestContext(deadline=deadline))
    ((_, _, meta, _),) = plane.asked
    assert meta.timeout_s <= most_s
    exact = within_s != most_s
    assert (meta.timeout_s == most_s) if exact else (meta.timeout_s > most_s - 10)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"method": 1}, "parameter method must be a text"),
        ({"baseline": True}, "parameter baseline must be a text"),
        ({"n_steps": "many"}, "parameter n_steps must be a whole number"),
        ({"n_samples": True}, "parameter n_samples must be a whole number"),
        ({"target": 1.5}, "parameter target must be"),
        ({"timeout": -1}, "parameter timeout must be"),
    ],
)
async def test_wrong_parameters(parameters: dict[str, Any], said: str) -> None:
    plane: Any = Plane()
    with pytest.raises(InvalidInput, match=said):
        await explain_request(plane, asking(**parameters), NO_CONTEXT)
    assert not plane.asked


@pytest.mark.parametrize(
    ("config", "said"),
    [({"explain": None}, "explain: null"), ({"batching": {"join": False}}, "belong together")],
)
async def test_models_that_explain_nothing(config: dict[str, Any], said: str) -> None:
    plane: Any = Plane(**config)
    with pytest.raises(Unsupported, match=said):
        await explain_request(plane, REQUEST, NO_CONTEXT)
    assert not plane.asked


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def spans_of(plane: Any, sampler: Any = "parentbased_always_off") -> list[Span]:
    made: list[Span] = []
    traces = RequestTraces(Sampler(sampler, 1), made.append)
    plane.spans = RequestSpans("m", "2", plane.served_version("m", "").config, traces)
    return made


@pytest.mark.parametrize(
    ("transport", "name"),
    [
        (HTTP, "POST /v2/models/{model_name}[/versions/{model_version}]/explain"),
        (GRPC, "vigil.Explain/Explain"),
        ("", "explain"),
    ],
)
async def test_an_explanation_is_traced(transport: str, name: str) -> None:
    plane: Any = Plane()
    made = spans_of(plane)
    not_traced = TRACE[:-1] + "0"
    await explain_request(plane, REQUEST, RequestContext(traceparent=not_traced.encode()))
    assert made == []
    assert plane.asked[0][2].traceparent == not_traced
    context = RequestContext(traceparent=TRACE.encode(), transport=transport)
    await explain_request(plane, REQUEST, context)
    server, step = made
    assert (server.name, step.name) == (name, "explain")
    assert f"{server.ids.trace:032x}-{server.ids.parent:016x}" == TRACE[3:-3]
    assert step.ids.parent == server.ids.span
    assert plane.asked[1][2].traceparent == step.ids.traceparent
    assert server.attributes["vigil.rows"] == 1
    assert server.attributes["vigil.request.id"] == "r7"
    assert server.attributes["vigil.outcome"] == "ok"
    assert server.start_ns <= step.start_ns <= step.end_ns <= server.end_ns
    if transport == HTTP:
        assert server.attributes["url.path"] == "/v2/models/m/explain"


async def test_an_explanation_that_fails_is_traced() -> None:
    plane: Any = Plane(explain=None)
    made = spans_of(plane, "parentbased_always_on")
    with pytest.raises(Unsupported):
        await explain_request(plane, REQUEST, RequestContext(transport=HTTP))
    assert made[0].attributes["http.response.status_code"] == 501
    assert made[0].attributes["error.type"] == "Unsupported"
    assert made[0].failed


async def test_an_explanation_that_its_client_gave_up_is_traced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plane: Any = Plane()
    made = spans_of(plane, "parentbased_always_on")

    async def cancelled(*_: Any) -> None:
        raise asyncio.CancelledError

    plane.explain = cancelled
    with pytest.raises(asyncio.CancelledError):
        await explain_request(plane, REQUEST, RequestContext(transport=HTTP))
    assert made[0].attributes["vigil.outcome"] == "abandoned"
    assert not made[0].failed


@pytest.mark.parametrize("traces", [True, False])
async def test_what_an_upstream_is_told_of_an_explanation_that_is_not_traced(traces: bool) -> None:
    plane: Any = Plane()
    if traces:
        spans_of(plane)
    await explain_request(plane, REQUEST, NO_CONTEXT)
    told = plane.asked[0][2].traceparent
    assert told.endswith("-00") if traces else told == ""
    if not traces:
        await explain_request(plane, REQUEST, RequestContext(traceparent=TRACE.encode()))
        assert plane.asked[1][2].traceparent == TRACE
