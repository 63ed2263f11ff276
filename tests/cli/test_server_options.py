"""What options of a command configure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from serving.cli.server_options import overrides, starts
from serving.config import load_server

ALL = {
    "engine": "local", "ingress": "envoy", "transport": "channel", "models": Path("m"),
    "data_dir": Path("d"), "drain_delay_s": 2.5,
}  # fmt: skip
LISTEN = {"host": "::1", "http_port": 1, "grpc_port": 2, "admin_port": 3}


@pytest.fixture
def run():
    """Runs a command with the options; returns what it was given, or the complaint."""

    def command(*arguments, **how):
        app, got = typer.Typer(), []

        @app.command()
        @starts(**how)
        def up(
            given: dict[str, Any],
            config: Annotated[Path | None, typer.Argument()] = None,
            own: Annotated[int, typer.Option()] = 7,
        ) -> None:
            got.append((given, config, own))

        done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
        return got[0] if got else (done.exit_code, done.output)

    return command


# -- what they configure --------------------------------------------------------------------------


def test_every_option_has_its_place_in_the_configuration():
    made = overrides(**ALL, **LISTEN, insecure=True)
    assert made == {**ALL, "listen": LISTEN, "insecure": True}


def test_what_was_not_given_is_left_to_the_configuration():
    nothing = dict.fromkeys((*ALL, *LISTEN))
    assert overrides(**nothing, insecure=False) == overrides() == {}
    assert overrides(**{**nothing, "grpc_port": 5}, insecure=False) == {"listen": {"grpc_port": 5}}


@pytest.mark.parametrize(
    ("key", "value"), [("drain_delay_s", 0.0), ("http_port", 0), ("host", ""), ("engine", "")]
)
def test_nothing_is_no_reason_to_leave_out_what_was_given(key, value):
    made = overrides(**{key: value})
    assert made in ({key: value}, {"listen": {key: value}})


def test_an_option_that_is_no_matter_of_the_configuration_is_left_out():
    assert overrides(upstream="h:1", model=["m"]) == {}


def test_the_configuration_takes_all_of_it(tmp_path):
    loaded = load_server(None, overrides(**ALL, **LISTEN, insecure=True))
    assert loaded.listen.model_dump(include=set(LISTEN)) == LISTEN
    assert loaded.model_dump(include=set(ALL)) == ALL
    assert loaded.insecure


# -- as options of a command ----------------------------------------------------------------------


def test_without_any_a_command_gets_nothing(run):
    assert run() == ({}, None, 7)


def test_options_are_typed_and_stand_beside_the_commands_own(run):
    given, config, own = run(
        "x.yaml", "--own", "3", "--engine", "ray", "--ingress", "serve", "--transport", "handle",
        "--models", "m", "--data-dir", "d", "--host", "h", "--http-port", "0",
        "--grpc-port", "65535", "--admin-port", "8", "--drain-delay-s", "1.5", "--insecure",
    )  # fmt: skip
    assert (config, own) == (Path("x.yaml"), 3)
    assert given == {
        "engine": "ray", "ingress": "serve", "transport": "handle", "models": Path("m"),
        "data_dir": Path("d"), "drain_delay_s": 1.5, "insecure": True,
        "listen": {"host": "h", "http_port": 0, "grpc_port": 65535, "admin_port": 8},
    }  # fmt: skip


@pytest.mark.parametrize("port", ["-1", "65536", "x", "1.5"])
@pytest.mark.parametrize("option", ["--http-port", "--grpc-port", "--admin-port"])
def test_ports(run, option, port):
    code, said = run(option, port)
    assert code == 2
    assert option in said


def test_a_switch_takes_no_value_and_has_no_opposite(run):
    assert run("--no-insecure")[0] == 2
    assert run("--insecure=false")[0] == 2


def test_a_command_may_lack_options(run):
    code, said = run("--transport", "handle", without=("transport", "models"))
    assert code == 2
    assert "--transport" in said
    assert run("--engine", "local", without=("transport", "models"))[0] == {"engine": "local"}


def test_a_command_may_have_defaults_of_its_own(run):
    how = {"engine": "local", "data_dir": Path(".vigil/watch")}
    assert run(**how)[0] == {"engine": "local", "data_dir": Path(".vigil/watch")}
    assert run("--engine", "ray", **how)[0]["engine"] == "ray"
