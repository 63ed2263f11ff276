import json

import pytest

from serving.cli.monitors import monitors
from serving.errors import VigilError

PATH = "/v2/models/m/monitors"
NOTHING = {
    "model": "m", "false_pages_per_quarter": 1.0, "monitors": [], "not_watched": ["drift: none"],
}  # fmt: skip


def test_what_is_not_watched_is_said(capsys: pytest.CaptureFixture[str], instance) -> None:
    url = instance({PATH: (200, json.dumps(NOTHING).encode())}).url
    monitors(url=url, as_json=False, model="m", everything=False)
    assert capsys.readouterr().out.endswith("not watched:\n  drift: none\n")


def test_json_is_the_answer_as_it_came(capsys: pytest.CaptureFixture[str], instance) -> None:
    url = instance({PATH: (200, json.dumps(NOTHING).encode())}).url
    monitors(url=url, as_json=True, model="m", everything=False)
    assert json.loads(capsys.readouterr().out) == NOTHING


def test_other_json_is_refused(instance) -> None:
    url = instance({PATH: (200, b'{"model": "m"}')}).url
    with pytest.raises(VigilError, match="is not Vigil"):
        monitors(url=url, as_json=False, model="m", everything=False)
