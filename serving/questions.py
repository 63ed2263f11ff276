"""The commands that ask a running instance: its state, its findings."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from serving.errors import VigilError

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)

UrlOption = Annotated[str, typer.Option(help="Where the gateway answers.")]
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
    if reset_reference:
        answer = _fetch("POST", f"{admin_url}/models/{model}/reset-reference")
        _out.print(f"drift of model '{model}': {answer['drift']}", soft_wrap=True)
        return
    body = _fetch("GET", f"{url}/v2/models/{model}/findings")
    if as_json:
        _out.print_json(json.dumps(body))
        return
    table = Table("monitor", "metric", "subject", "value", "threshold", "p", "rows", "verdict")
    for item in body["findings"]:
        verdict = {True: "[bold red]breached", False: "fine", None: "too few rows"}
        p_value = item["p_value"]
        table.add_row(
            item["monitor"], item["metric"], item["subject"], f"{item['value'] or 0:.4g}",
            f"{item['threshold']:.4g}", "" if p_value is None else f"{p_value:.2g}",
            str(item["n_current"]), verdict[item["breached"]],
        )  # fmt: skip
    _out.print(table)
    for note in body["notes"]:
        _out.print(note, markup=False, soft_wrap=True)


def status(url: AdminUrl = "http://127.0.0.1:8002") -> None:
    """Tell whether the instance is ready, and which versions it serves; why not, where not."""
    import httpx

    try:
        answer = httpx.get(f"{url}/readyz", timeout=5)
        listed = httpx.post(f"{url}/v2/repository/index", timeout=5)
    except httpx.HTTPError:
        raise VigilError(f"nothing answers at {url}; is Vigil up?") from None
    if listed.status_code == 200:
        for row in listed.json():
            what = f"{row['name']} version {row['version']}" if row["version"] else row["name"]
            reason = f" ({row['reason']})" if row["reason"] else ""
            # Reasons quote files and models; nothing in them is markup.
            _out.print(f"{what}: {row['state']}{reason}", markup=False, soft_wrap=True)
    if answer.status_code == 200:
        _out.print("ready")
        return
    _err.print(answer.json()["error"])
    raise typer.Exit(1)


def _fetch(method: str, url: str) -> Any:
    import httpx

    try:
        answer = httpx.request(method, url, timeout=30)
    except httpx.HTTPError:
        raise VigilError(f"nothing answers at {url}; is Vigil up?") from None
    if answer.status_code != 200:
        raise VigilError(answer.json().get("error", answer.text))
    return answer.json()
