import pytest

from loadtest.overload import _table, main


def point(clients: int, good: float, refused: float = 0, number: int = 0) -> dict:
    return {"protocol": "json", "rows": 200, "connections": clients, "good_per_s": good,
            "refused_per_s": refused, "round": number}  # fmt: skip


def test_the_share_is_of_the_best_and_not_of_the_first():
    (row,) = _table([point(8, 100), point(64, 200), point(512, 50, 900)], (8, 64, 512)).rows
    assert row[0] == "json, 200 rows"
    assert row[1:4] == ("100 (0)", "200 (0)", "50 (900)")
    assert row[4] == "0.25 (under the target)"


def test_medians_are_over_rounds():
    rounds = [point(8, rate, number=n) for n, rate in enumerate((100, 110, 500))]
    (row,) = _table([*rounds, point(512, 110)], (8, 512)).rows
    assert row[1:] == ("110 (0)", "110 (0)", "1.00")


def test_a_part_of_the_loads_is_not_kept_as_the_whole(capsys):
    for part in (["--loads", "json-20"], ["--quick"]):
        with pytest.raises(SystemExit):
            main(["--write", *part])
        assert "leave --quick and --loads out" in capsys.readouterr().err
