"""`vigil watch`: serve the models of a server that runs already, and watch them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.cli.console import complain
from serving.cli.serve import SUPERVISOR, serve
from serving.cli.server_options import starts
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.logs.setup import configure, writes_json

if TYPE_CHECKING:
    from serving.config import RemoteCredentials, RemoteTls


@starts(without=("ingress", "transport", "models"), engine="local", data_dir=Path(".vigil/watch"))
def watch(
    given: dict[str, Any],
    upstream: Annotated[
        str, typer.Option(help="The server that runs: HOST:PORT of its HTTP or gRPC.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(help="Only this model; may be repeated. Needed where there is no index."),
    ] = None,
    example: Annotated[
        list[str] | None,
        typer.Option(help="MODEL=FILE with a request, for a model that declares no inputs."),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(help="Folder to keep the model.yaml files in, to edit; none: --data-dir."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with a secret that the server wants; no option takes one itself."),
    ] = None,
    token_env: Annotated[
        str | None,
        typer.Option(help="The same: environment variable that holds it."),
    ] = None,
    token_header: Annotated[
        str, typer.Option(help="Header, or metadata, that carries it; `authorization`: as Bearer.")
    ] = "authorization",  # noqa: S107 - its name
    mirror: Annotated[
        bool,
        typer.Option(
            "--mirror", help="Take copies of its requests and answers instead of standing in front."
        ),
    ] = False,
    ask_upstream: Annotated[
        bool,
        typer.Option(
            "--ask-upstream", help="With --mirror: send copies of requests to it, for its answers."
        ),
    ] = False,
    unencrypted: Annotated[
        bool, typer.Option("--unencrypted", help="Send it without TLS beyond loopback.")
    ] = False,
    ca_file: Annotated[
        Path | None,
        typer.Option(help="PEM of who signed the server's certificate; means TLS."),
    ] = None,
    cert_file: Annotated[
        Path | None, typer.Option(help="PEM of a certificate of our own; means TLS.")
    ] = None,
    key_file: Annotated[Path | None, typer.Option(help="PEM of its key.")] = None,
) -> None:
    """Serve the models of a server that runs already, and watch them."""
    from serving.config import ConfigError, load_server
    from serving.remote.discovery.watch import read_examples, write_repository

    configure(SUPERVISOR, sends=False)
    if ask_upstream and not mirror:
        raise ConfigError("--ask-upstream belongs to --mirror; without it every request is asked")
    copies = ("ask" if ask_upstream else "observe") if mirror else None
    credentials = _credentials(token_env, token_file, token_header, unencrypted)
    tls = _tls(ca_file, cert_file, key_file)
    settings = load_server(None, given)
    folder = write or settings.data_dir / "watched"
    names = write_repository(
        upstream,
        folder,
        model or [],
        read_examples(example or []),
        _tell,
        keep=bool(write),
        credentials=credentials,
        tls=tls,
        mirror=copies,
    )
    if copies == "observe":
        _tell(
            "copies of requests are answered at once and not sent on: outputs are known where "
            "their answers come as CloudEvents (POST /v2/cloudevents)"
        )
    _tell(
        f"watching {', '.join(names)} of {upstream}; for models that appear there later, start "
        f"`vigil watch` again"
    )
    raise typer.Exit(serve(settings.model_copy(update={"models": folder}), only=names))


def _tell(sentence: str) -> None:
    if writes_json():
        report(Event.UPSTREAM_WATCHED, sentence)
    else:
        complain(sentence)


def _credentials(
    env: str | None, file: Path | None, header: str, unencrypted: bool
) -> RemoteCredentials | None:
    from serving.config import RemoteCredentials, parse

    given = {"env": env, "file": None if file is None else str(file.absolute())}
    if env is None and file is None:
        return None
    raw = {**given, "header": header.lower(), "unencrypted": unencrypted}
    return parse(RemoteCredentials, raw, "--token-env, --token-file, --token-header")


def _tls(ca: Path | None, cert: Path | None, key: Path | None) -> RemoteTls | None:
    from serving.config import RemoteTls, parse

    given = {"ca_file": ca, "cert_file": cert, "key_file": key}
    raw = {name: str(path.absolute()) for name, path in given.items() if path is not None}
    return parse(RemoteTls, raw, "--ca-file, --cert-file, --key-file") if raw else None
