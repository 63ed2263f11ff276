"""What holds for every section of a configuration."""

from __future__ import annotations

import math

import pytest
from pydantic import Field

from serving.config import ConfigError, InputSpec, ModelConfig, OutputSpec, ServerConfig, parse
from serving.config.encoded import decode_config, encode_config
from serving.config.section import Section


class Inner(Section):
    share: float = 0.5


class Outer(Section):
    inner: Inner = Inner()
    limit: float | None = None
    each: dict[str, float] = Field(default_factory=dict)


def test_a_section_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Outer().limit = 1.0


@pytest.mark.parametrize("raw", [{"limits": 1}, {"inner": {"shar": 1}}, {"inner": {"": 1}}])
def test_keys_that_nobody_knows_are_refused(raw):
    with pytest.raises(ConfigError, match="there is no such key"):
        parse(Outer, raw, "x.yaml")


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, "inf", "NaN", 10**400])
@pytest.mark.parametrize("key", ["limit", "inner.share", "each.a"])
def test_numbers_are_finite(number, key):
    outer, _, inner = key.partition(".")
    with pytest.raises(ConfigError) as told:
        parse(Outer, {outer: {inner: number} if inner else number}, "x.yaml")
    assert told.value.message.startswith(f"x.yaml: {key}: Input should be a ")


@pytest.mark.parametrize("key", ["drain_timeout_s", "load_timeout_s", "poll_models_s"])
def test_a_server_that_waits_for_ever_is_refused(key):
    with pytest.raises(ConfigError, match=f"{key}: Input should be a finite number"):
        parse(ServerConfig, {key: math.inf}, "vigil.yaml")


@pytest.mark.parametrize(
    "more",
    [
        {"remote": {"url": "grpc://h:1", "timeout_s": 1e308}},
        {"batching": {"latency_slo_ms": 5e-324}},
    ],
)
def test_what_is_accepted_arrives_as_it_was(more):
    tensors = [InputSpec(name="x", datatype="FP32", shape=[-1, 2])]
    outputs = [OutputSpec(name="y", datatype="FP32", shape=[-1, 2])]
    kind = {"format": "remote" if "remote" in more else "torch_export"}
    given = ModelConfig(inputs=tensors, outputs=outputs, **kind, **more)
    assert decode_config(encode_config(given)) == given
