import json

from loadtest.record import Table, write


def test_results_say_how_they_were_made(tmp_path):
    known = {"command": "python -m loadtest.x --write", "versions": {"a": "1"}, "cores": 2}
    table = Table("A table", ("load", "rate"), [("one", "5")], "A note.")
    write("x", known, [table], [{"rate": 5}], tmp_path)
    said = (tmp_path / "x.md").read_text()
    assert "- command: python -m loadtest.x --write\n- versions: a 1\n- cores: 2\n" in said
    assert "## A table\n\nA note.\n\n| load | rate |\n|---|---:|\n| one | 5 |\n" in said
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "facts": known,
        "samples": [{"rate": 5}],
    }
