import pytest

from loadtest.experiments.estimates import CHUNK, OVER_TIME, SHIFTED, Size, covered, shifted, tables

SMALL = Size(seeds=1, windows=4)


def test_of_shifted_rows_the_weighted_estimate_is_closer():
    found = {each["shift"]: each for each in shifted("synthetic", 0, SMALL)}
    assert found[1.5]["pape"] < found[1.5]["cbpe"]
    assert found[0.0]["cbpe"] < 0.05


@pytest.mark.parametrize("name", OVER_TIME)
def test_windows_inside_their_bands_are_counted(name):
    found = covered(name, 0, SMALL)
    assert found["windows"] == 4
    assert set(found["inside"]) == set(OVER_TIME[name][1])
    assert all(0 <= count <= 4 for count in found["inside"].values())


def test_tables_tell_what_was_found():
    shift = [
        {"stream": name, "seed": 0, "shift": by, "cbpe": 0.02, "pape": 0.01}
        for name in SHIFTED
        for by in (0.0, 0.5, 1.0, 1.5)
    ]
    inside = [
        {"stream": name, "seed": 0, "method": "PAPE", "windows": 10,
         "inside": dict.fromkeys(metrics, 9)}
        for name, (_, metrics) in OVER_TIME.items()
    ]  # fmt: skip
    shown = tables({"size": {"seeds": 1, "windows": 10}, "shifted": shift, "covered": inside})
    assert "| digits | 0.5 | 0.0200 | 0.0100 |" in shown
    assert "| classifier | accuracy | PAPE | 10 | 90.0% | 90% | 90% |" in shown
    assert f"Windows of {CHUNK} rows" in shown
