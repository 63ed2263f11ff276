"""The commands that ask a running instance: its state, its findings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from serving.errors import VigilError, printable

if TYPE_CHECKING:
    import httpx

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)

UrlOption = Annotated[str, typer.Option(help="Where the gateway answers HTTP.")]
AdminUrl = Annotated[str, typer.Option(help="Where the admin listener answers.")]


def findings(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    url: UrlOption = "http://127.0.0.1:8000",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    reset_reference: Annotated[
        bool,
        typer.Option("--reset-reference", help="Begin a new live reference of its drift."),
    ] = False,
    admin_url: AdminUrl = "http://127.0.0.1:8002",
) -> None:
    """Print the latest findings of a model."""
    from rich.markup import escape
    from rich.table import Column, Table

    if reset_reference:
        answer = _fetch("POST", f"{admin_url}/models/{model}/reset-reference")
        _out.print(f"drift of model '{model}': {answer['drift']}", soft_wrap=True)
        return
    body = _fetch("GET", f"{url}/v2/models/{model}/findings")
    if as_json:
        _out.print_json(json.dumps(body))
        return
    # Cut short, the names of columns could not be told apart.
    names = (
        "version", "monitor", "metric", "subject", "value", "threshold", "p", "rows", "age",
        "verdict",
    )  # fmt: skip
    table = Table(*(Column(name, overflow="fold") for name in names))
    for item in body["findings"]:
        verdict = {True: "[bold red]breached", False: "fine", None: f"unknown: {item['reason']}"}
        p_value = item["p_value"]
        table.add_row(
            escape(item["version"]), item["monitor"], item["metric"], escape(item["subject"]),
            _number(item["value"]), _number(item["threshold"], ""),
            "" if p_value is None else f"{p_value:.2g}",
            str(item["n_current"]), _age(item["age_s"]), verdict[item["breached"]],
        )  # fmt: skip
    _out.print(table)
    for note in body["notes"]:
        _out.print(printable(note), markup=False, soft_wrap=True)


def status(url: AdminUrl = "http://127.0.0.1:8002") -> None:
    """Tell whether the instance is ready, and which versions it serves; why not, where not."""
    answer = _asked("GET", f"{url}/readyz", 5)
    listed = _asked("POST", f"{url}/v2/repository/index", 5)
    if listed.status_code == 200:
        for row in _json(listed):
            what = f"{row['name']} version {row['version']}" if row["version"] else row["name"]
            reason = f" ({row['reason']})" if row["reason"] else ""
            # Names and reasons quote files and models; nothing in them is markup.
            said = printable(f"{what}: {row['state']}{reason}")
            _out.print(said, markup=False, soft_wrap=True)
    if answer.status_code == 200:
        _out.print("ready")
        return
    _err.print(printable(_error(answer)), markup=False, soft_wrap=True)
    raise typer.Exit(1)


def _number(value: float | None, none: str = "unknown") -> str:
    return none if value is None else f"{value:.4g}"


def _age(seconds: float) -> str:
    """Say how long ago a window ended, in the largest unit that is not one."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return "< 2 min"


def _fetch(method: str, url: str) -> Any:
    answer = _asked(method, url, 30)
    if answer.status_code != 200:
        raise VigilError(_error(answer))
    return _json(answer)


def _asked(method: str, url: str, timeout_s: float) -> httpx.Response:
    import httpx

    try:
        return httpx.request(method, url, timeout=timeout_s)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise VigilError(f"'{url}' is no address; write http://host:port") from None
    except httpx.HTTPError:
        raise VigilError(f"nothing answers at {url}; is Vigil up, and is that its port?") from None


def _error(answer: httpx.Response) -> str:
    told = _json(answer)
    if not isinstance(told, dict) or "error" not in told:
        raise _stranger(answer)
    return str(told["error"])


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise _stranger(answer) from None


def _stranger(answer: httpx.Response) -> VigilError:
    return VigilError(f"what answers at {answer.url} is not Vigil; give another address or port")
