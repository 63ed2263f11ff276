"""Where a model on another server is, and which secret may be sent there."""

from __future__ import annotations

from typing import Any

import pytest

from serving.config import ConfigError, RemoteCredentials, RemoteTls, parse
from serving.config.remote import Remote


def refused(kind, **raw):
    with pytest.raises(ConfigError) as told:
        parse(kind, raw, "model.yaml")
    return told.value.message


def remote(**raw):
    return parse(Remote, {"url": "grpc://h:1", **raw}, "model.yaml")


# -- its address ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "grpc://h:1", "grpcs://h", "http://h/", "https://h.example:443", "http://[::1]:8000",
        "http://10.0.0.1:8000/",
    ],
)  # fmt: skip
def test_an_address(url):
    assert remote(url=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "", "h:1", "h", "ftp://h", "HTTP://h", "http:/h", "http://", "http:///", "http://h/x",
        "http://h//", "http://h?x", "http://h#x", "http://h h", "http://h:1\n", " http://h",
        "xgrpc://h", "grpcss://h", "http://\t",
    ],
)  # fmt: skip
def test_what_is_no_address(url):
    assert refused(Remote, url=url) == (
        "model.yaml: url: is no address of a server; write grpc://host:port or http://host:port, "
        "with TLS grpcs:// or https://"
    )


@pytest.mark.parametrize("url", ["http://anna:hunter2@h", "hunter2@h", "http://h/hunter2@"])
def test_an_address_holds_no_secret_and_none_is_quoted(url):
    message = refused(Remote, url=url)
    assert message.startswith("model.yaml: url: holds a user or a secret; name the file or the env")
    assert "hunter2" not in message


def test_there_is_no_model_without_an_address():
    assert refused(Remote) == "model.yaml: url: is missing, and has no default"


# -- how it is called -----------------------------------------------------------------------------


def test_a_model_of_the_same_name_is_asked_with_few_requests_at_once():
    made = remote()
    assert (made.model, made.version, made.timeout_s, made.max_inflight) == (None, "", 60, 8)
    assert (made.row_axis, made.join) == (True, True)
    assert (made.credentials, made.tls) == (None, None)


@pytest.mark.parametrize("inflight", [1, 256])
def test_requests_at_once(inflight):
    assert remote(max_inflight=inflight).max_inflight == inflight


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("max_inflight", 0),
        ("max_inflight", 257),
        ("max_inflight", 1.5),
        ("timeout_s", 0),
        ("timeout_s", -1),
    ],
)
def test_limits(key, wrong):
    message = refused(Remote, **{"url": "http://h", key: wrong})
    assert message.startswith(f"model.yaml: {key}: Input should be ")


# -- a secret -------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [{"env": "TOKEN_1"}, {"env": "_"}, {"file": "a/token"}])
def test_a_secret_is_somewhere_else(place):
    made = remote(credentials=place).credentials
    assert made.model_dump(exclude_defaults=True) == place
    assert (made.header, made.scheme, made.unencrypted) == ("authorization", None, False)


@pytest.mark.parametrize("places", [{}, {"env": "A", "file": "a"}, {"env": None, "file": None}])
def test_a_secret_is_in_one_place(places):
    assert refused(RemoteCredentials, **places) == (
        "model.yaml: give either `env` or `file`, which says where the secret is, or `passthrough`"
    )


@pytest.mark.parametrize("env", ["", "1A", "A B", "A=B", "A\n", "é", "A-B", "\0"])
def test_what_is_no_variable(env):
    assert refused(RemoteCredentials, env=env).startswith("model.yaml: env: String should match")


def test_a_file_has_a_name():
    assert refused(RemoteCredentials, file="").startswith("model.yaml: file: ")


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "x_key.1", "0", "binary"])
def test_headers_that_may_carry_it(header):
    assert remote(credentials={"env": "A", "header": header}).credentials.header == header


@pytest.mark.parametrize(
    "header", ["", "Host", "X-Key", "x key", "x:", "x\n", "x\r\nhost", "-x", ":path", "é"]
)
def test_what_is_no_name_of_a_header(header):
    message = refused(RemoteCredentials, env="A", header=header)
    assert message.startswith("model.yaml: header: String should match pattern")


@pytest.mark.parametrize(
    "header",
    [
        "host", "content-length", "content-type", "transfer-encoding", "connection", "te", "expect",
        "grpc-timeout", "grpc-", "inference-header-content-length",
    ],
)  # fmt: skip
def test_headers_of_the_protocol_carry_none(header):
    assert refused(RemoteCredentials, env="A", header=header) == (
        f"model.yaml: header: '{header}' belongs to the protocol; use another"
    )


@pytest.mark.parametrize("header", ["x-bin", "a.-bin"])
def test_headers_of_bytes_carry_none(header):
    message = refused(RemoteCredentials, env="A", header=header)
    assert message == "model.yaml: header: gRPC sends names that end in -bin as bytes; use another"


@pytest.mark.parametrize("scheme", ["", "Bearer", "x.Y-1_"])
def test_words_before_it(scheme):
    assert remote(credentials={"env": "A", "scheme": scheme}).credentials.scheme == scheme


@pytest.mark.parametrize("scheme", ["a b", "a\r\nhost: x", "é", " "])
def test_what_is_no_word(scheme):
    assert refused(RemoteCredentials, env="A", scheme=scheme).startswith("model.yaml: scheme: ")


# -- certificates ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "files", [{}, {"ca_file": "a"}, {"cert_file": "a", "key_file": "b"}, {"ca_file": ""}]
)
def test_certificates(files):
    assert remote(tls=files).tls.model_dump(exclude_none=True) == files


@pytest.mark.parametrize("files", [{"cert_file": "a"}, {"key_file": "a", "ca_file": "b"}])
def test_a_certificate_has_a_key(files):
    assert refused(RemoteTls, **files) == (
        "model.yaml: cert_file and key_file belong together; give both"
    )


def test_the_word_means_the_section() -> None:
    url = "https://models.example.com"
    word = Remote.model_validate({"url": url, "credentials": "passthrough"})
    section = Remote.model_validate({"url": url, "credentials": {"passthrough": True}})
    assert word == section
    assert Remote.model_validate_json(word.model_dump_json()) == word


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ({}, "give either `env` or `file`"),
        ({"passthrough": True, "env": "KEY"}, "give either `env` or `file`"),
        ({"env": "KEY", "file": "key"}, "give either `env` or `file`"),
        ({"passthrough": True, "header": "x-api-key"}, "take `header` and `scheme` out"),
        ({"passthrough": True, "scheme": "Basic"}, "take `header` and `scheme` out"),
        ("passthru", "RemoteCredentials"),
    ],
)
def test_what_is_wrong_is_said(credentials: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Remote.model_validate({"url": "https://a", "credentials": credentials})
