"""Names of models, versions, inputs and outputs that try to be something else."""

import json
from types import ModuleType
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

pytestmark = pytest.mark.e2e

BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'

# As they stand in the request line: no client library may tidy them up first.
SEGMENTS = {
    "parent": "../etc",
    "parents": "../../../../etc/passwd",
    "encoded-dots": "%2e%2e",
    "encoded-parent": "%2e%2e%2fetc",
    "encoded-slash": "..%2fetc",
    "twice-encoded": "%252e%252e%252fetc",
    "backslash": "..\\etc",
    "encoded-backslash": "..%5cetc",
    "absolute": "/etc/passwd",
    "encoded-absolute": "%2fetc%2fpasswd",
    "dot": ".",
    "encoded-dot": "%2e",
    "blank": "%20",
    "blanks": "echo%20",
    "tab": "echo%09",
    "plus": "echo+",
    "newline": "echo%0aX-Evil:%201",
    "carriage-return": "echo%0d%0aX-Evil:%201",
    "nul": "echo%00",
    "only-nul": "%00",
    "ansi": "%1b[31mecho",
    "not-utf-8": "%ff",
    "overlong-utf-8": "%c0%ae%c0%ae",
    "broken-escape": "%zz",
    "cut-escape": "%",
    "unicode": "%E6%A8%A1%E5%9E%8B",
    "unicode-look-alike": "%D0%B5cho",
    "combining": "e%CC%81cho",
    "emoji": "%F0%9F%98%80",
    "raw-utf-8": "mod\xe8le",
    "raw-high-bytes": "\xff\xfe",
    "10-kB": "a" * 10_000,
    "50-kB": "a" * 50_000,
    "10-kB-of-dots": "../" * 3300 + "etc",
    "other-case": "ECHO",
    "semicolon": "echo;a=b",
    "colon": "echo:1",
    "format": "{0}%25s",
    "quotes": "%27%22",
    "empty": "",
}


def ask(wire: ModuleType, target: Any, path: str) -> Any:
    line = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n\r\n"
    return wire.exchange(target.instance.http_port, line.encode("latin-1") + BODY)


def check(target: Any, reply: Any) -> None:
    """404 or 400 in one sentence; where a path is so broken that it never reached us, a close."""
    if target.differs("own-words") and reply.status in (0, 400, 414, 431):
        return
    # 405: the dots and slashes gone, it is the path of a model's metadata.
    assert reply.status in (400, 404, 405, 431), (reply.status, reply.body[:300])
    (sentence,) = json.loads(reply.body).values()
    assert 0 < len(sentence) < 1000
    assert "x-evil" not in reply.headers
    assert "root:" not in sentence


@pytest.mark.parametrize("case", SEGMENTS)
def test_models_in_paths(wire: ModuleType, target: Any, case: str) -> None:
    check(target, ask(wire, target, f"/v2/models/{SEGMENTS[case]}/infer"))


# Envoy takes `..` for what it says; without the version, this path asks for the newest.
VERSIONS = [case for case in SEGMENTS if case != "encoded-dots"]


@pytest.mark.parametrize("case", [*VERSIONS, "0", "01", "1.0", "-1", "1e0", "arabic", "huge"])
def test_versions_in_paths(wire: ModuleType, target: Any, case: str) -> None:
    numbers = {"arabic": "%D9%A1", "huge": "9" * 5000}
    version = SEGMENTS.get(case, numbers.get(case, case))
    check(target, ask(wire, target, f"/v2/models/echo/versions/{version}/infer"))


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/a..b/infer",
        "/v2/models/a..b/versions/1/infer",
        "/v2/models/a%2E%2Eb/infer",
        "/v2/models/%61..b/infer",
        "/v2/models/echo/../a..b/infer",
        "/v2/models/a..b/infer/",
        "/v2/models/a..b/infer?x=../../etc/passwd",
        "/v2/models/a..b/infer?%ff",
    ],
)
def test_a_legal_name_with_dots_passes(wire: ModuleType, target: Any, path: str) -> None:
    reply = ask(wire, target, path)
    if "/../" in path.partition("?")[0] and target.differs("paths-as-they-are"):
        assert reply.status == 404
        return
    assert reply.status == 200, reply.body[:300]
    assert json.loads(reply.body)["model_name"] == "a..b"


@pytest.mark.parametrize(
    "path",
    ["/", "/v1/models/echo:predict", "/v2", "/v2/models", "/v2/models/echo/infer/x", "/v3",
     "/v2/models/echo/generate", "/v2/systemsharedmemory/region/a/register", "/metrics",
     "/v2/models/echo/reports/..%2f..%2fetc", "/-/routes/x"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUATSCH"])
def test_methods_and_paths_that_are_not_there(
    wire: ModuleType, target: Any, method: str, path: str
) -> None:
    line = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    reply = wire.exchange(target.instance.http_port, line.encode())
    allowed = {0, 400, 404, 405, 501} if target.differs("own-words") else {400, 404, 405}
    if method == "OPTIONS":  # which tells what may be asked here
        allowed = allowed | {200}
    assert reply.status in allowed, (reply.status, reply.body[:300])


NAMES = {
    "parent": "../etc",
    "absolute": "/etc/passwd",
    "empty": "",
    "nul": "echo\0",
    "newline": "echo\nevil",
    "ansi": "\x1b[31mecho",
    "10-kB": "a" * 10_000,
    "1-MB": "\N{GRINNING FACE}" * 250_000,
    "unicode": "\u6a21\u578b",
    "blank": " echo ",
    "other-case": "ECHO",
    "format": "{0}%s",
}


@pytest.mark.parametrize("case", NAMES)
def test_models_over_grpc(target: Any, case: str) -> None:
    message = target.message([1, 2, 3, 4])
    message.model_name = NAMES[case]
    target.fails(grpc.StatusCode.NOT_FOUND, "Request for unknown model", message)


NUMBERS = ("0", "01", "-1", "1.0", "9" * 5000)


@pytest.mark.parametrize("case", [*(name for name in NAMES if name != "empty"), *NUMBERS])
def test_versions_over_grpc(target: Any, case: str) -> None:
    message = target.message([1, 2, 3, 4])
    message.model_version = NAMES.get(case, case)
    target.fails(grpc.StatusCode.NOT_FOUND, "Request for unknown model|model version", message)


@pytest.mark.parametrize("case", NAMES)
def test_inputs_and_outputs(target: Any, case: str) -> None:
    name = NAMES[case]
    tensor = {"name": name, "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    target.refused(target.post({"inputs": [tensor]}), 400)
    good = target.request([1, 2, 3, 4])
    target.refused(target.post({**good, "outputs": [{"name": name}]}), 400)
    message = target.message([1, 2, 3, 4])
    message.outputs.add(name=name)
    target.fails(grpc.StatusCode.INVALID_ARGUMENT, "output", message)
    message = target.message([1, 2, 3, 4])
    message.inputs[0].name = name
    target.fails(grpc.StatusCode.INVALID_ARGUMENT, "input", message)


def test_inputs_missing_twice_or_unknown(target: Any) -> None:
    (x,) = target.request([1, 2, 3, 4])["inputs"]
    target.refused(target.post({"inputs": [x, x]}), 400, "given twice")
    target.refused(target.post({"inputs": [x, {**x, "name": "y"}]}), 400, "unexpected input 'y'")
    target.refused(target.post({"inputs": [x]}, model="kinds"), 400, "missing|unexpected")
    message = service_pb2.ModelInferRequest(model_name="echo")
    target.fails(grpc.StatusCode.INVALID_ARGUMENT, "no inputs", message)
    message = target.message([1, 2, 3, 4])
    message.inputs.append(message.inputs[0])
    message.raw_input_contents.append(message.raw_input_contents[0])
    target.fails(grpc.StatusCode.INVALID_ARGUMENT, "given twice", message)


def test_outputs_twice_and_a_million(target: Any) -> None:
    good = json.dumps(target.request([1, 2, 3, 4]))[:-1]
    twice = f'{good},"outputs":[{{"name":"x_out"}},{{"name":"x_out"}}]}}'
    target.refused(target.post(twice.encode()), 400, "given twice")
    many = ",".join(['{"name":"y"}'] * 1_000_000)
    target.refused(target.post(f'{good},"outputs":[{many}]}}'.encode()), 400, "4096")
    message = target.message([1, 2, 3, 4])
    message.outputs.extend([message.InferRequestedOutputTensor(name="y")] * 1_000_000)
    target.fails(grpc.StatusCode.INVALID_ARGUMENT, "4096", message)
