"""Which engine is run with what, and what is said of it."""

from __future__ import annotations

import pytest

from serving.channel.messages.directory import BrokenModel
from serving.cli import serve as module
from serving.cli.serve import serve
from serving.config import ConfigError, Listen, ServerConfig, Telemetry
from serving.engines.local import supervisor as local
from serving.engines.ray import engine as ray_engine
from serving.telemetry import process_title


class Engine:
    """Runs nothing; says where it would listen."""

    def __init__(self):
        self.ran = []
        self.listen = None
        self.code = 0

    def named(self, name):
        def run(settings, found, ready):
            self.ran.append((name, settings, found))
            if self.listen:
                ready(self.listen)
            return self.code

        return run


@pytest.fixture
def engine(monkeypatch):
    made = Engine()
    monkeypatch.setattr(local, "run", made.named("local"))
    monkeypatch.setattr(ray_engine, "run", made.named("ray"))
    return made


@pytest.fixture(autouse=True)
def process(monkeypatch):
    """What becomes of this process: its title, and how it logs."""
    said = []
    monkeypatch.setattr(process_title, "set_title", said.append)
    monkeypatch.setattr(module, "configure", lambda *how, **more: said.append((*how, more)))
    return said


def settings(tmp_path, **more):
    return ServerConfig(models=tmp_path, **more)


@pytest.mark.parametrize("name", ["local", "ray"])
def test_the_engine_of_the_configuration_serves_what_is_there(engine, tmp_path, name):
    (tmp_path / "m").mkdir()
    given = settings(tmp_path, engine=name)
    assert serve(given) == 0
    ((ran, config, found),) = engine.ran
    assert (ran, config, found.models) == (name, given, ())
    assert [broken.name for broken in found.broken] == ["m"]


def test_only_what_was_named_is_served(engine, tmp_path):
    for name in ("m", "n"):
        (tmp_path / name).mkdir()
    serve(settings(tmp_path), only=["n"])
    found = engine.ran[0][2]
    assert [broken.name for broken in found.broken] == ["n"]
    assert isinstance(found.broken[0], BrokenModel)


def test_a_folder_that_is_missing_runs_nothing(engine, tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        serve(settings(tmp_path / "none"))
    assert engine.ran == []


def test_the_process_is_named_and_logs_as_it_is_told(engine, tmp_path, process):
    telemetry = Telemetry(log_format="json", log_level="warning")
    serve(settings(tmp_path, telemetry=telemetry))
    more = {"collector": (None, None)}
    assert process == ["supervisor", ("supervisor", "json", "warning", more)]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, "the server has stopped"),
        (1, "the server has stopped, and not every request in flight was answered"),
        (3, "the server has stopped, and not every request in flight was answered"),
    ],
)
def test_how_it_ended_is_told_and_returned(engine, tmp_path, caplog, code, said):
    caplog.set_level("INFO", "vigil")
    engine.code = code
    assert serve(settings(tmp_path)) == code
    assert caplog.messages[-1] == said
    assert caplog.records[-1].vigil_fields["code"] == code


@pytest.mark.parametrize(
    ("host", "admin", "shown"),
    [
        ("127.0.0.1", "10.0.0.1", ("127.0.0.1", "10.0.0.1")),
        ("::1", "::", ("[::1]", "[::]")),
        ("fd00::1", "localhost", ("[fd00::1]", "localhost")),  # no markup, although it looks so
        ("[red]", ":smile:", ("[red]", "[:smile:]")),
    ],
)
def test_where_it_listens_is_one_line(engine, tmp_path, capsys, caplog, host, admin, shown):
    caplog.set_level("INFO", "vigil")
    engine.listen = Listen.model_construct(
        host=host, http_port=18000, grpc_port=18001, admin_host=admin, admin_port=18002
    )
    serve(settings(tmp_path))
    (line,) = capsys.readouterr().out.splitlines()
    start, _, rest = line.partition(" s: ")
    assert start.startswith("ready after ")
    assert 0 <= float(start.removeprefix("ready after ")) < 60
    assert rest == (
        f"HTTP http://{shown[0]}:18000  gRPC {shown[0]}:18001  "
        f"console http://{shown[1]}:18002/console"
    )
    record = caplog.records[-2]
    assert record.message == "every required model answers"
    assert record.vigil_fields["seconds"] >= 0
