"""Mistakes in configuration files, and the sentences that they get."""

from pathlib import Path

import pytest

from serving.config import ConfigError, load_model, load_server

MODEL = """
format: remote
outputs: [{name: y, datatype: FP32, shape: [-1]}]
"""
INPUTS = "inputs: [{name: x, datatype: FP32, shape: [-1]}]\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("listen: {http_prot: 1}", "listen.http_prot: there is no such key; did you mean 'http_p"),
        ("wings: 2", "wings: there is no such key; there are engine, ingress, "),
        ("[]", "must be a mapping"),
        (
            "listen: {max_body_mib: 64, max_inflight_mib: 10}",
            "listen: max_inflight_mib is 10, less than the largest body (max_body_mib: 64), which",
        ),
        ("listen: 8000", "listen: must be a mapping of keys to values"),
        ("engine: fast", "engine: Input should be 'ray' or 'local'"),
        ("a: [", "not YAML"),
        ("a: 2001-13-45", "not YAML: month must be in 1..12"),
        ("a: !!bool maybe", "not YAML"),
        ("a: !!int ''", "not YAML"),
        ("a: " + "[" * 5000, "not YAML"),
    ],
)
def test_a_wrong_configuration_is_told_by_file_and_key(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "vigil.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as told:
        load_server(file, {})
    assert str(told.value).startswith(f"{file}: ")
    assert why in str(told.value)


def test_what_is_no_text_is_told_likewise(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_bytes(b"format: \xff")
    with pytest.raises(ConfigError, match=r"model\.yaml: not YAML: 'utf-8' codec can't decode"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("section", "why"),
    [
        (INPUTS + "guards: [{name: mahalanobis, on_eror: open}]", "did you mean 'on_error'?"),
        (
            INPUTS + "guards: [{name: schema, false_positive_rate: 0.1}]",
            "no such key; there are name, action, on_error, expected_rate, budget_ms",
        ),
        (INPUTS + "remote: {url: 'grpc://h:1', zzz: x}", "remote.zzz: there is no such key; there"),
        (INPUTS + "remote: {}", "remote.url: is missing"),
        (INPUTS + "remote: {url: 'h:1'}", "remote.url: is no address of a server; write grpc://"),
        (INPUTS + "remote: {url: 'http://h:1/v2'}", "remote.url: is no address of a server"),
        (INPUTS + "remote: {url: 'https://me:s3cret@h:1'}", "remote.url: holds a user or a secret"),
        (INPUTS + "remote: {url: 'grpc://s3cret@h'}", "in remote.credentials, and write only"),
        ("inputs: [{name: x, shape: [-1]}]", "inputs.0.datatype: is missing"),
        (INPUTS, "format remote needs the section `remote`"),
    ],
)
def test_a_wrong_model_is_told_likewise(tmp_path: Path, section: str, why: str) -> None:
    (tmp_path / "model.yaml").write_text(MODEL + section)
    with pytest.raises(ConfigError) as told:
        load_model(tmp_path)
    assert why in str(told.value)
    assert "s3cret" not in str(told.value)


def test_a_folder_without_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="every folder among the models needs one"):
        load_model(tmp_path)
