"""The Envoy front's configuration and environment; `tests/e2e` shows that Envoy obeys them."""

from __future__ import annotations

import json
import re
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from serving.config import ConfigError, Listen
from serving.gateway.envoy import envoy_config, envoy_process

LISTEN = Listen(host="127.0.0.1", http_port=8000, grpc_port=8001, max_body_mib=3)


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return envoy_config(LISTEN, tmp_path / "admin")


@pytest.fixture
def manager(config: dict[str, Any]) -> dict[str, Any]:
    (listener,) = config["static_resources"]["listeners"]
    (chain,) = listener["filter_chains"]
    (only,) = chain["filters"]
    typed: dict[str, Any] = only["typed_config"]
    return typed


def test_one_listener_on_both_ports(config: dict[str, Any]) -> None:
    (listener,) = config["static_resources"]["listeners"]
    ports = [listener["address"], *[more["address"] for more in listener["additional_addresses"]]]
    assert [port["socket_address"]["port_value"] for port in ports] == [8000, 8001]
    assert listener["enable_reuse_port"] is True


def test_admin_is_a_private_socket(config: dict[str, Any], tmp_path: Path) -> None:
    assert config["admin"]["address"]["pipe"] == {"path": f"{tmp_path}/admin", "mode": 0o600}


def test_slow_clients_and_tricky_requests_have_their_bounds(manager: dict[str, Any]) -> None:
    assert {key for key in manager if key.endswith("timeout")} == {
        "request_headers_timeout", "request_timeout", "stream_idle_timeout",
    }  # fmt: skip
    assert manager["request_headers_timeout"] == "10.000s"
    assert manager["request_timeout"] == "60.000s"
    assert manager["normalize_path"]
    assert manager["path_with_escaped_slashes_action"] == "REJECT_REQUEST"
    options = manager["common_http_protocol_options"]
    assert options["headers_with_underscores_action"] == "ALLOW"


def test_bytes_behind_a_chunk_are_not_skipped(config: dict[str, Any]) -> None:
    (layer,) = config["layered_runtime"]["layers"]
    assert layer["static_layer"] == {"envoy.reloadable_features.strict_chunk_parsing": True}


@pytest.mark.parametrize("proxies", [0, 2])
def test_the_client_is_not_what_a_header_says(tmp_path: Path, proxies: int) -> None:
    listen = Listen(trusted_proxies=proxies)
    manager = envoy_config(listen, tmp_path / "admin")["static_resources"]["listeners"][0]
    config = manager["filter_chains"][0]["filters"][0]["typed_config"]
    assert config["use_remote_address"] is True
    assert config["xff_num_trusted_hops"] == proxies


def test_a_stream_may_be_idle(manager: dict[str, Any]) -> None:
    (host,) = manager["route_config"]["virtual_hosts"]
    assert [route["match"]["path"] for route in host["routes"]] == [
        "/inference.GRPCInferenceService/ModelStreamInfer",
        "/grpc.health.v1.Health/Watch",
    ]
    assert {route["route"]["idle_timeout"] for route in host["routes"]} == {"0s"}


def test_the_app_comes_last_and_has_its_lifespan(manager: dict[str, Any]) -> None:
    refuse, app = manager["http_filters"]
    assert app["typed_config"]["terminal_filter"] is True
    settings = json.loads(app["typed_config"]["filter_config"]["value"])
    assert settings["app"] == "serving.gateway.app:app"
    assert settings["lifespan"] is True
    module = app["typed_config"]["dynamic_module_config"]["module"]["local"]["filename"]
    assert Path(module).is_file()
    policy = refuse["typed_config"]["rules"]["policies"]["would-hang"]
    broken, connect = policy["permissions"]
    assert connect["header"]["string_match"] == {"exact": "CONNECT"}
    regex = broken["url_path"]["path"]["safe_regex"]["regex"]
    assert re.fullmatch(regex, "/v2/models/%ff/infer")
    assert not re.fullmatch(regex, "/v2/models/a%20b/infer")


def test_every_reply_of_envoy_is_one_json_sentence_but_grpc_keeps_its_own(
    manager: dict[str, Any],
) -> None:
    grpc, *rest = manager["local_reply_config"]["mappers"]
    assert grpc["filter"]["header_filter"]["header"]["string_match"]["prefix"] == "application/grpc"
    assert "json_format" not in grpc["body_format_override"]
    for mapper in rest:
        assert list(mapper["body_format_override"]["json_format"]) == ["error"]
    compared = [m["filter"]["status_code_filter"]["comparison"]["value"] for m in rest]
    codes = {
        value["default_value"]: m["status_code"] for value, m in zip(compared, rest, strict=True)
    }
    assert codes[403] == 400
    assert codes[408] == 408
    assert {400, 404, 413, 431, 503, 504} <= codes.keys()


def test_the_process(tmp_path: Path) -> None:
    stale = tmp_path / "g.admin"
    stale.touch()
    process = envoy_process(
        LISTEN, tmp_path, "g", "unix:/control plane", secret=b"\x01\xff", drain_timeout_s=7
    )
    assert process.socket == stale
    assert not stale.exists()
    written = json.loads(Path(process.argv[process.argv.index("--config-path") + 1]).read_text())
    assert written == envoy_config(LISTEN, stale)
    assert process.argv[process.argv.index("--drain-time-s") + 1] == "7"
    assert process.argv[process.argv.index("--concurrency") + 1] == "1"
    assert "--disable-hot-restart" in process.argv
    assert Path(process.argv[0]).is_file()
    env = process.env
    assert env["VIGIL_GATEWAY_ID"] == "g"
    assert env["VIGIL_REGISTRY"] == "unix:/control plane"
    assert Listen.model_validate_json(env["VIGIL_LISTEN"]) == LISTEN
    assert bytes.fromhex(env["VIGIL_CHANNEL_SECRET"]) == b"\x01\xff"
    assert Path(env["LD_PRELOAD"]).is_file()
    assert "\x01\xff" not in str(written)


def test_without_a_secret_none_is_passed_on(tmp_path: Path) -> None:
    process = envoy_process(LISTEN, tmp_path, "g", "unix:/control plane")
    assert "VIGIL_CHANNEL_SECRET" not in process.env


def test_a_missing_libpython_is_said_clearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(name: str) -> str:
        return {"LDLIBRARY": "libpython3.11.so"}.get(name, str(tmp_path / "nowhere"))

    monkeypatch.setattr(sysconfig, "get_config_var", nowhere)
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    with pytest.raises(ConfigError, match=r"apt-get install libpython3\.11"):
        envoy_process(LISTEN, tmp_path, "g", "unix:/control plane")
