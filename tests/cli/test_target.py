from typing import Annotated

import typer
from typer.testing import CliRunner

from serving.cli.target import Target, asks

APP = typer.Typer()
ASKED: list[tuple[Target, str, int]] = []


@APP.command()
@asks("http://default:1", "the toy")
def toy(target: Target, name: str, often: Annotated[int, typer.Option()] = 1) -> None:
    """Ask the toy."""
    ASKED.append((target, name, often))


def ran(*arguments: str) -> tuple[Target, str, int]:
    done = CliRunner().invoke(APP, arguments)
    assert done.exit_code == 0, done.output
    return ASKED.pop()


def test_a_command_has_its_own_options_and_those_of_the_target() -> None:
    assert ran("n") == (Target("http://default:1"), "n", 1)
    given = ran("--json", "n", "--url", "http://h:2", "--often", "3")
    assert given == (Target("http://h:2", as_json=True), "n", 3)


def test_the_help_is_the_command_s_and_names_the_listener() -> None:
    done = CliRunner().invoke(APP, ["--help"], env={"COLUMNS": "200"})
    assert "Ask the toy." in done.output
    assert "Where the toy answers HTTP." in done.output
    assert "http://default:1" in done.output
