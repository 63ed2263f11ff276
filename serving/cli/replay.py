"""`vigil replay`: ask the version that answered a request once more, and compare."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from serving.cli.client import Client, Refused, Unreachable
from serving.cli.console import OUT, cell, complain, say
from serving.cli.log_files import LogFiles, reads_log
from serving.cli.server_options import ModelsDir
from serving.cli.target import GATEWAY
from serving.errors import InvalidInput, VigilError
from serving.protocol.ids import new_request_id

if TYPE_CHECKING:
    from serving.cli.output_differences import Difference
    from serving.log.reader import LogReader
    from serving.models.repository.folder import ModelEntry
    from serving.protocol.messages import Tensor

DIFFERENT: Final = 1
CANNOT: Final = 2
PATIENCE_S: Final = 300.0


class CannotReplay(VigilError):
    """The request cannot be asked again; the message says why."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A request as the log has it."""

    model: str
    version: str
    revision: str
    inputs: list[Tensor]
    outputs: list[Tensor]


@reads_log
def replay(
    files: LogFiles,
    ident: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the request, or of a batch in the log.")
    ],
    model: Annotated[str | None, typer.Option(help="Name of the model; none: any.")] = None,
    index: Annotated[
        int | None, typer.Option(min=0, help="Only this row of the request; none: all.")
    ] = None,
    url: Annotated[str, typer.Option(help="Where the gateway answers HTTP.")] = GATEWAY,
    local: Annotated[
        bool, typer.Option("--local", help="Load it here, even where a gateway serves it.")
    ] = False,
    models: ModelsDir = None,
) -> None:
    """Ask the version that answered a request once more, and compare the outputs bit by bit.

    Where no gateway serves that version, it is loaded here, on the CPU, from the folder of the
    models. Exit codes: 0 equal, 1 different, 2 it cannot be asked again.
    """
    try:
        found = _replay(files, ident, model, index, None if local else url, models)
    except VigilError as error:
        complain(f"vigil: {error.message}", style="red")
        raise typer.Exit(CANNOT) from None
    equal = all(each.equal for each in found)
    _show(found)
    raise typer.Exit(0 if equal else DIFFERENT)


def _replay(
    files: LogFiles,
    ident: str,
    model: str | None,
    index: int | None,
    url: str | None,
    models: Path | None,
) -> list[Difference]:
    from serving.cli.output_differences import differences
    from serving.control.served_model import served_model
    from serving.models.repository.folder import ModelRepository

    name, rows = _found(files.reader(), ident, model, index)
    version, then = rows["version"][0].as_py(), rows["revision"][0].as_py() or ""
    root = models or files.settings.models
    entry = ModelRepository(root, files.settings.remote_hosts).version(name, version)
    logged = _logged(entry, rows, then, index)
    now = served_model(entry).revision
    if then and now != then:
        complain(
            f"the files of model '{name}' version {version} are not those that answered: revision "
            f"{then} then, {now} now; they have changed, or were copied without their times"
        )
    outputs = None if url is None else _asked(logged, url)
    if outputs is None and url is not None:
        say(f"{url} does not serve version {version} of model '{name}'; it is loaded here")
    if outputs is None:
        outputs = _computed(entry, logged)
    return differences(logged.outputs, outputs)


def _found(reader: LogReader, ident: str, model: str | None, index: int | None) -> tuple[str, Any]:
    from serving.log.logged_request import one_request

    names = reader.models() if model is None else [model]
    found = {name: tables for name in names if (tables := reader.find_tables(name, ident, index))}
    if not found:
        of = "" if model is None else f" of model '{model}'"
        raise CannotReplay(f"the log has no request '{ident}'{of} with such a row")
    if len(found) > 1:
        raise CannotReplay(
            f"requests of several models have the id '{ident}': {', '.join(found)}; name one with "
            "--model"
        )
    [(name, tables)] = found.items()
    return name, one_request(tables, ident)


def _logged(entry: ModelEntry, rows: Any, revision: str, index: int | None) -> Logged:
    from serving.log.logged_request import logged_inputs, logged_outputs

    outcomes = set(rows["outcome"].to_pylist()) - {"ok"}
    if outcomes:
        raise CannotReplay(
            f"it was not answered ({', '.join(sorted(outcomes))}), so there are no outputs to "
            "compare with"
        )
    if index is not None and entry.config.coupled:
        raise CannotReplay(
            f"what a row of model '{entry.name}' gives depends on the other rows of its request; "
            "leave out --index"
        )
    return Logged(
        entry.name,
        entry.version,
        revision,
        logged_inputs(rows, entry.config),
        logged_outputs(rows, entry.config),
    )


def _asked(logged: Logged, url: str) -> list[Tensor] | None:
    """Return the outputs that a gateway gives; None where none serves the version."""
    from serving.channel.messages.inference import Passthrough
    from serving.remote.http.answers import whole_answer
    from serving.remote.http.wire import LENGTH, HttpWire

    wire = HttpWire(binary=True)
    call = wire.infer(logged.model, logged.version, Passthrough({}, {}), logged.inputs)
    headers = {**call.headers, "X-Request-Id": f"replay-{new_request_id()}"}
    path = ("v2", "models", logged.model, "versions", logged.version, "infer")
    try:
        got = Client(url, PATIENCE_S).post(*path, body=call.body or b"", headers=headers)
    except Unreachable:
        return None
    except Refused as refusal:
        if refusal.status == 404:
            return None
        raise
    answer = whole_answer(HTTPStatus.OK, got.content, got.headers.get(LENGTH))
    return list(wire.read_infer(answer).tensors)


def _computed(entry: ModelEntry, logged: Logged) -> list[Tensor]:
    """Return the outputs that the version gives when it is loaded here."""
    import numpy as np

    from serving.models.formats.loader import load
    from serving.protocol.messages import Tensor

    config, what = entry.config, f"model '{entry.name}' version {entry.version}"
    if config.remote is not None:
        raise CannotReplay(f"{what} is on another server, which a gateway would have to ask")
    if any(spec.rowless for spec in config.inputs):
        raise CannotReplay(f"{what} has an input without rows, which only a gateway can ask with")
    try:
        model = load(entry, "cpu")
    except VigilError:
        raise
    except Exception as error:  # noqa: BLE001 - as `vigil check`: whatever its code raises
        told = " ".join(str(error).split())[:200]
        raise CannotReplay(f"{what} cannot be loaded: {type(error).__name__}: {told}") from None
    row_axis = entry.config.row_axis
    inputs = {each.name: each.data if row_axis else each.data[np.newaxis] for each in logged.inputs}
    outputs = model.predict(inputs)
    found = []
    for spec in entry.config.outputs:
        if spec.name not in outputs:
            raise InvalidInput(f"the version gives no output '{spec.name}'")
        data = outputs[spec.name] if row_axis else outputs[spec.name][0]
        found.append(Tensor(spec.name, spec.datatype, data.shape, data))
    return found


def _show(found: list[Difference]) -> None:
    from rich.table import Table

    table = Table("output", "verdict", "values", "different", "largest difference")
    for each in found:
        verdict = "equal" if each.equal else each.why or "different"
        largest = "" if each.largest is None else f"{each.largest:.6g}"
        numbers = ("", "", "") if each.why else (str(each.values), str(each.different), largest)
        table.add_row(cell(each.name), cell(verdict), *numbers)
    OUT.print(table)
