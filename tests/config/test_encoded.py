"""A configuration survives its encoding, and is parsed once."""

from __future__ import annotations

import pytest

from serving.config import InputSpec, ModelConfig, OutputSpec
from serving.config.encoded import MOST_DECODED, decode_config, encode_config


def config(width: int = 3) -> ModelConfig:
    return ModelConfig(
        format="torch_export",
        inputs=[InputSpec(name="x", datatype="FP32", shape=[-1, width])],
        outputs=[OutputSpec(name="p", datatype="FP32", shape=[-1, 2])],
    )


def test_what_was_encoded_is_decoded() -> None:
    assert decode_config(encode_config(config())) == config()


def test_the_same_bytes_are_the_same_configuration() -> None:
    first = decode_config(encode_config(config()))
    assert decode_config(encode_config(config())) is first
    assert decode_config(encode_config(config(4))) is not first


@pytest.mark.parametrize("encoded", [b"", b"{}", b'{"format": "no such"}', b"\xff"])
def test_what_is_no_configuration_is_refused_every_time(encoded: bytes) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="ModelConfig"):
            decode_config(encoded)


def test_no_more_than_so_many_are_kept() -> None:
    assert decode_config.cache_parameters()["maxsize"] == MOST_DECODED
