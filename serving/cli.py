"""The command `vigil`. Exit codes: 0 fine, 1 it failed, 2 wrong usage."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer
from rich.console import Console

from serving import questions
from serving.config import Listen, RemoteCredentials, RemoteTls, ServerConfig, load_server, parse
from serving.errors import VigilError, printable
from serving.logs.events import Event
from serving.logs.report import report
from serving.logs.setup import configure, writes_json

if TYPE_CHECKING:
    from serving.models.repository import ModelRepository

app = typer.Typer(
    help="A model serving gateway that watches itself.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)
SUPERVISOR = "supervisor"
"""The role, in the log, of a process that starts a server."""

# typer reads annotations at run time and does not know `X | None` inside Annotated strings.
ConfigPath = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Argument(help="vigil.yaml; without it the defaults and the options below."),
]
EngineName = Annotated[Optional[str], typer.Option(help="ray or local.")]  # noqa: UP045
IngressName = Annotated[Optional[str], typer.Option(help="direct, envoy or serve.")]  # noqa: UP045
ModelsDir = Annotated[Optional[Path], typer.Option(help="Folder of the models.")]  # noqa: UP045
DataDir = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="Where the monitor keeps its state; each running instance needs its own."),
]
HostName = Annotated[Optional[str], typer.Option(help="Address to bind.")]  # noqa: UP045
ConfigFile = Literal["server", "model"]
Port = Annotated[Optional[int], typer.Option(min=0, max=65535)]  # noqa: UP045
DrainDelay = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(help="At SIGTERM: seconds of being not ready, with all answered, before the end."),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Bind beyond loopback although nothing authenticates.")
]


def _overrides(**given: Any) -> dict[str, Any]:
    """Turn command-line options into configuration; options not given are left out."""
    names = ("engine", "ingress", "transport", "models", "data_dir", "drain_delay_s")
    top = {name: given[name] for name in names if given.get(name) is not None}
    listen = {
        key: given[key]
        for key in ("host", "http_port", "grpc_port", "admin_port")
        if given.get(key) is not None
    }
    if listen:
        top["listen"] = listen
    if given.get("insecure"):
        top["insecure"] = True
    return top


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """A model serving gateway that watches itself."""
    if debug:
        # In the environment, because child processes must hear of it as well.
        os.environ["VIGIL_DEBUG"] = "1"


@app.command()
def up(
    config: ConfigPath = None,
    engine: EngineName = None,
    ingress: IngressName = None,
    transport: Annotated[Optional[str], typer.Option(help="channel or handle.")] = None,  # noqa: UP045
    models: ModelsDir = None,
    data_dir: DataDir = None,
    host: HostName = None,
    http_port: Port = None,
    grpc_port: Port = None,
    admin_port: Port = None,
    drain_delay_s: DrainDelay = None,
    insecure: Insecure = False,
) -> None:
    """Serve the models until SIGTERM."""
    configure(SUPERVISOR)
    settings = load_server(config, _overrides(**locals()))
    raise typer.Exit(_serve(settings))


@app.command()
def demo(
    engine: EngineName = None,
    ingress: IngressName = None,
    models: ModelsDir = None,
    data_dir: DataDir = None,
    host: HostName = None,
    http_port: Port = None,
    grpc_port: Port = None,
    admin_port: Port = None,
    insecure: Insecure = False,
    build_only: Annotated[bool, typer.Option(help="Build the models, do not serve.")] = False,
) -> None:
    """Build the demo models, then serve them."""
    configure(SUPERVISOR)
    overrides = _overrides(**locals())
    overrides.setdefault("models", Path("demo-models"))
    settings = load_server(None, overrides)
    _with_progress(lambda report: _build_demo(settings.models, report))
    if not build_only:
        raise typer.Exit(_serve(settings))


@app.command()
def watch(
    upstream: Annotated[
        str, typer.Option(help="The server that runs: HOST:PORT of its HTTP or gRPC.")
    ],
    model: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Only this model; may be repeated. Needed where there is no index."),
    ] = None,
    example: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="MODEL=FILE with a request, for a model that declares no inputs."),
    ] = None,
    write: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder to keep the model.yaml files in, to edit; none: --data-dir."),
    ] = None,
    token_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="File with a secret that the server wants; no option takes one itself."),
    ] = None,
    token_env: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The same: environment variable that holds it."),
    ] = None,
    token_header: Annotated[
        str, typer.Option(help="Header, or metadata, that carries it; `authorization`: as Bearer.")
    ] = "authorization",  # noqa: S107 - its name
    unencrypted: Annotated[
        bool, typer.Option("--unencrypted", help="Send it without TLS beyond loopback.")
    ] = False,
    ca_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="PEM of who signed the server's certificate; means TLS."),
    ] = None,
    cert_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="PEM of a certificate of our own; means TLS."),
    ] = None,
    key_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="PEM of its key."),
    ] = None,
    engine: EngineName = "local",
    data_dir: DataDir = Path(".vigil/watch"),
    host: HostName = None,
    http_port: Port = None,
    grpc_port: Port = None,
    admin_port: Port = None,
    drain_delay_s: DrainDelay = None,
    insecure: Insecure = False,
) -> None:
    """Serve the models of a server that runs already, and watch them."""
    from serving.remote.watch import read_examples, write_repository

    configure(SUPERVISOR)
    credentials = _credentials(token_env, token_file, token_header, unencrypted)
    tls = _tls(ca_file, cert_file, key_file)
    settings = load_server(None, _overrides(**locals()))
    folder = write or settings.data_dir / "watched"
    names = write_repository(
        upstream,
        folder,
        model or [],
        read_examples(example or []),
        _tell_watched,
        keep=bool(write),
        credentials=credentials,
        tls=tls,
    )
    _tell_watched(
        f"watching {', '.join(names)} of {upstream}; for models that appear there later, start "
        f"`vigil watch` again"
    )
    raise typer.Exit(_serve(settings.model_copy(update={"models": folder}), only=names))


def _tell_watched(sentence: str) -> None:
    if writes_json():
        report(Event.UPSTREAM_WATCHED, sentence)
    else:
        _err.print(sentence, markup=False, soft_wrap=True)


def _credentials(
    env: str | None, file: Path | None, header: str, unencrypted: bool
) -> RemoteCredentials | None:
    given = {"env": env, "file": None if file is None else str(file.absolute())}
    if env is None and file is None:
        return None
    raw = {**given, "header": header.lower(), "unencrypted": unencrypted}
    return parse(RemoteCredentials, raw, "--token-env, --token-file, --token-header")


def _tls(ca: Path | None, cert: Path | None, key: Path | None) -> RemoteTls | None:
    given = {"ca_file": ca, "cert_file": cert, "key_file": key}
    raw = {name: str(path.absolute()) for name, path in given.items() if path is not None}
    return parse(RemoteTls, raw, "--ca-file, --cert-file, --key-file") if raw else None


def _build_demo(models: Path, report: Callable[[str, int, int], None]) -> None:
    from serving.demo.build import build_demo

    build_demo(models, report)


@app.command()
def check(
    config: ConfigPath = None,
    models: ModelsDir = None,
    model: Annotated[Optional[str], typer.Option(help="Only this model.")] = None,  # noqa: UP045
) -> None:
    """Validate configuration and models without serving: load, warm up, run the example."""
    from serving.models.repository import ModelRepository, wrong_name

    settings = load_server(config, _overrides(models=models))
    repository = ModelRepository(settings.models, settings.remote_hosts)
    names = [model] if model else repository.names()
    misnamed = [] if model else repository.misnamed()
    for name in misnamed:
        _err.print(wrong_name(settings.models, name), markup=False, soft_wrap=True)
    if not names and not misnamed:
        _err.print(f"{settings.models}: holds no model", markup=False, soft_wrap=True)
    sound = [_check_model(repository, name) for name in names]
    raise typer.Exit(0 if all(sound) and not misnamed else 1)


def _check_model(repository: ModelRepository, name: str) -> bool:
    from serving.models.prepare import prepare
    from serving.models.warm_up import try_without_example

    def fail(what: str, why: str) -> bool:
        _err.print(f"{what}: {why}", markup=False, soft_wrap=True)
        return False

    entries, broken = repository.survey(name)
    sound = not broken
    for each in broken:
        fail(f"{name} version {each.version}" if each.version else name, each.reason)
    for entry in entries:
        what = f"{entry.name} version {entry.version}"
        try:
            prepared = prepare(entry, "cpu")
            try_without_example(prepared.model, entry)
        except VigilError as error:
            sound = fail(what, error.message)
            continue
        except Exception as error:  # noqa: BLE001 - the other models are checked all the same
            sound = fail(what, printable(f"{type(error).__name__}: {' '.join(str(error).split())}"))
            continue
        has = prepared.model.capabilities
        _out.print(
            f"{what}: fine (features: {has.features}, module: {has.module}, "
            f"differentiable: {has.differentiable})"
        )
        _out.print(f"{what}: {prepared.rows}", markup=False, soft_wrap=True)
        for told in (prepared.measured, prepared.tried):
            if told:
                _out.print(f"{what}: {told}", markup=False, soft_wrap=True)
    return sound


@app.command()
def profile(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    data: Annotated[Path, typer.Option(help="Parquet file with reference rows.")],
    heldout: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Parquet file to calibrate guards on; none: a part of --data."),
    ] = None,
    models: ModelsDir = None,
) -> None:
    """Fit the reference profile (drift, guards, baselines) of every version that is served."""
    from serving.models.profile import fit_profile
    from serving.models.repository import ModelRepository

    settings = load_server(None, _overrides(models=models))
    for entry in ModelRepository(settings.models, settings.remote_hosts).entries(model):
        _with_progress(partial(fit_profile, entry, data, heldout))
        _out.print(f"profile of {entry.name} version {entry.version} is in {entry.profile}")


@app.command()
def convert(
    file: Annotated[
        Path, typer.Argument(help="A pickle of scikit-learn (.pkl, .joblib) or torch (.pt, .pth).")
    ],
    into: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The version's folder, such as models/mine/1; none: the file's own."),
    ] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Read the pickle, which runs what it holds.")
    ] = False,
) -> None:
    """Convert a pickle to a file that Vigil serves: skops or safetensors, and its manifest."""
    from serving.models.convert import convert_pickle

    for line in convert_pickle(file, into or file.parent, trust_code=trust_code):
        _out.print(line, soft_wrap=True)


@app.command()
def manifest(
    folder: Annotated[Path, typer.Argument(help="The version's folder, such as models/mine/1.")],
) -> None:
    """Write the manifest of files that were put into a version's folder, or changed, by hand."""
    from serving.models.manifest import write_folder_manifest

    _out.print(f"wrote {write_folder_manifest(folder)}", soft_wrap=True)


@app.command("config")
def describe(
    file: Annotated[ConfigFile, typer.Argument(help="server (vigil.yaml) or model (model.yaml).")],
) -> None:
    """Describe every key of a configuration file."""
    from rich.table import Table

    from serving.config_reference import FILES, rows

    table = Table("key", "type", "default", "meaning")
    for cells in rows(FILES[file]):
        table.add_row(*(cell.replace("`", "").replace("[", "\\[") for cell in cells))
    _out.print(table)


app.command()(questions.findings)
app.command()(questions.status)


def _with_progress(work: Callable[[Callable[[str, int, int], None]], object]) -> None:
    """Run `work`, which reports (what, done, total), under progress bars."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_err, disable=writes_json()) as progress:
        bars: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total)

        work(report)


def _serve(settings: ServerConfig, only: Sequence[str] | None = None) -> int:
    from serving.admin.served_model import inventory
    from serving.models.repository import ModelRepository
    from serving.telemetry.process_title import set_title

    set_title("supervisor")
    configure(SUPERVISOR, settings.telemetry.log_format, settings.telemetry.log_level)
    started = time.monotonic()
    repository = ModelRepository(settings.models, settings.remote_hosts)
    found = inventory(repository, only)

    def ready(listen: Listen) -> None:
        host = f"[{listen.host}]" if ":" in listen.host else listen.host
        _out.print(
            f"ready after {time.monotonic() - started:.1f} s: "
            f"HTTP http://{host}:{listen.http_port}  gRPC {host}:{listen.grpc_port}  "
            f"console http://{listen.admin_host}:{listen.admin_port}/console"
        )
        seconds = round(time.monotonic() - started, 1)
        report(Event.SERVER_READY, "every required model answers", seconds=seconds)

    if settings.engine == "local":
        from serving.engines import local

        code = local.run(settings, found, ready)
    else:
        from serving.engines import ray_engine

        code = ray_engine.run(settings, found, ready)
    said = "the server has stopped"
    if code:
        said += ", and not every request in flight was answered"
    report(Event.SERVER_STOPPED, said, code=code)
    return code


def main() -> None:
    """Run the command; errors become one sentence and an exit code."""
    if os.getpid() == 1:
        from serving.engines.init import become_init

        become_init()
    try:
        app()
    except VigilError as error:
        debug = bool(os.environ.get("VIGIL_DEBUG"))
        if writes_json():  # a server, whose standard error is its log
            report(Event.START_REFUSED, error.message, error=error if debug else None)
            sys.exit(1)
        if debug:
            raise
        # A message may quote anything: nothing in it is markup, and it stays one line.
        _err.print(f"vigil: {error.message}", style="red", markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
