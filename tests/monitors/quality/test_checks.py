import numpy as np
import pytest

from monitors.quality.checks import CHECKS, Expected, NumberChecks, violations
from monitors.reference.categorical_column import CategoricalColumn
from monitors.reference.column_quality import quality_of
from monitors.reference.profile import ReferenceProfile


def objects(*values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def failed(expected, values):
    return {
        check: (made.tolist(), bad.tolist())
        for check, (made, bad) in violations(expected, values).items()
    }


def test_numbers_are_checked_for_values_type_and_range():
    expected = Expected(quality_of(np.arange(10)))
    assert expected.checks == ("completeness", "data_type", "range")
    found = failed(expected, np.array([3.0, 3.5, np.nan, 99.0, np.inf]))
    assert found["completeness"][1] == [False, False, True, False, False]
    assert found["data_type"] == ([True, True, False, True, True],
                                  [False, True, False, False, True])  # fmt: skip
    assert found["range"][1] == [False, False, False, True, True]


def test_declared_limits_and_values_go_before_those_of_the_reference():
    expected = Expected(quality_of(np.arange(10.0) / 2), low=0.0, high=100.0)
    assert failed(expected, np.array([99.0, -1.0]))["range"][1] == [False, True]
    texts = Expected(quality_of(objects("a", "b")), allowed=["a"])
    assert texts.checks == ("completeness", "categorical_values")
    assert failed(texts, objects("a", "b", None, ""))["categorical_values"] == (
        [True, True, False, False],
        [False, True, False, False],
    )


def test_values_that_the_reference_never_had_are_violations():
    values = objects(*["a"] * 30, *["b"] * 30, "c")
    column = ReferenceProfile.fit({"x": values}).columns["x"]
    expected = Expected(quality_of(values), column)
    found = failed(expected, objects(b"b", b"c", b"new"))
    assert found["categorical_values"][1] == [False, False, True]
    assert expected.violated("categorical_values") == (61, 1)


def test_a_column_of_an_older_profile_has_no_check_of_values():
    old = CategoricalColumn(("a",), np.array([9, 1, 0]))
    assert Expected(quality_of(objects("a")), old).checks == ("completeness",)


def test_of_text_that_held_numbers_the_type_is_checked():
    expected = Expected(quality_of(objects(b"1.5", b"2.5")))
    assert failed(expected, objects(b"3", b"three"))["data_type"][1] == [False, True]


@pytest.mark.parametrize("seed", range(3))
def test_checks_of_many_columns_are_those_of_each(seed):
    rng = np.random.default_rng(seed)
    expected = {
        "i": Expected(quality_of(np.arange(10))),
        "f": Expected(quality_of(rng.normal(size=100))),
        "text": Expected(quality_of(objects("a", "b"))),
        "gone": Expected(quality_of(np.arange(5))),
    }
    odd = np.array([np.nan, np.inf, -np.inf, 0.5, 3.0, 1e9])
    rows = {"i": rng.choice(odd, 50), "f": rng.choice(odd, 50)}
    many = NumberChecks(expected)
    assert many.names == ["i", "f", "gone"]
    found = many.violations(rows, 50)
    for at, name in enumerate(("i", "f")):
        one = violations(expected[name], rows[name])
        for number, check in enumerate(NumberChecks.checks):
            made, bad = one[check]
            assert found[number, at].tolist() == (made & bad).tolist()
    assert set(NumberChecks.checks) < set(CHECKS)
