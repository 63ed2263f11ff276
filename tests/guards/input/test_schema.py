import numpy as np
import pytest

from guards.decisions import Action
from guards.input.schema import InputRule, RowRule, SchemaGuard
from guards.rows import Rows


def reasons(rule, values):
    return SchemaGuard([rule]).check(Rows(len(values), {rule.name: values})).reasons


def test_reasons_name_feature_and_range():
    rule = InputRule(
        "x",
        minimum=np.array([0, -np.inf]),
        maximum=np.array([np.inf, 2.5]),
        feature_names=["mean radius", "texture"],
    )
    x = np.array([[1, 1], [-1, 1], [1, 7], [np.nan, 7], [1, -np.inf]], dtype=np.float32)
    assert reasons(rule, x) == {
        1: "input 'x': 'mean radius' must be at least 0",
        2: "input 'x': 'texture' must be at most 2.5",
        3: "input 'x': 'mean radius' must be a finite number",
        4: "input 'x': 'texture' must be a finite number",
    }


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_bounds_themselves_pass_in_every_precision(dtype):
    rule = InputRule("x", minimum=0.1, maximum=0.7)
    assert reasons(rule, np.array([[0.1, 0.7]], dtype=dtype)) == {}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floats_must_be_finite_even_without_bounds(value):
    x = np.zeros((3, 4, 4), dtype=np.float32)
    x[1, 2, 3] = value
    expected = {1: "input 'image': value [2, 3] of a row must be a finite number"}
    assert reasons(InputRule("image"), x) == expected
    largest = np.finfo(np.float32).max
    assert reasons(InputRule("image"), np.full((1, 2), largest, np.float32)) == {}


def test_bounds_of_every_element_of_any_shape():
    rule = InputRule("x", minimum=0, maximum=1)
    assert reasons(rule, np.array([0.5, 2.0])) == {1: "input 'x': the value must be at most 1"}
    assert list(reasons(rule, np.full((2, 3, 3), -1.0))) == [0, 1]


def test_integers_and_booleans():
    rule = InputRule("x", minimum=0)
    assert list(reasons(rule, np.array([[1, 2], [3, -4]]))) == [1]
    assert reasons(InputRule("x"), np.array([[True], [False]])) == {}


def test_categories():
    rule = InputRule(
        "c", categories=[{"low", "high"}, None, {"é"}], feature_names=["grade", "note", "letter"]
    )
    values = np.array(
        [[b"low", b"?", "é".encode()], [b"mid", b"?", "é".encode()], [b"low", b"", b"\xff"]],
        dtype=object,
    )
    assert reasons(rule, values) == {
        1: "input 'c': 'grade' must be one of 'high', 'low'",
        2: "input 'c': 'letter' must be one of 'é'",
    }


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_missing_numbers_pass_where_they_may_and_infinite_ones_never(dtype):
    rule = InputRule("x", minimum=np.array([0, 0]), feature_names=["a", "b"], missing=[True, False])
    nan, inf = np.nan, np.inf
    x = np.array([[nan, 1], [1, nan], [nan, nan], [inf, 1], [-1, 1], [nan, -1], [1, 1]], dtype)
    assert reasons(rule, x) == {
        1: "input 'x': 'b' must be a finite number",
        2: "input 'x': 'b' must be a finite number",
        3: "input 'x': 'a' must be a finite number or missing",
        4: "input 'x': 'a' must be at least 0",
        5: "input 'x': 'b' must be at least 0",
    }
    assert reasons(rule, x[:1]) == {}
    unbounded = InputRule("x", missing=[True, True])
    assert list(reasons(unbounded, x)) == [3]


def test_columns_of_integers_have_no_missing_values():
    rule = InputRule("x", minimum=0, missing=[True, True])
    assert list(reasons(rule, np.array([[1, 2], [3, -4]]))) == [1]


def test_empty_texts_pass_among_categories_where_they_may():
    rule = InputRule(
        "c", categories=[{"u"}, {"v"}], feature_names=["a", "b"], missing=[True, False]
    )
    values = np.array([[b"", b"v"], [b"u", b""], [b"w", b"v"], [b"u", b"v"]], dtype=object)
    assert reasons(rule, values) == {
        1: "input 'c': 'b' must be one of 'v'",
        2: "input 'c': 'a' must be one of 'u', or missing",
    }
    assert reasons(rule, values[:1]) == {}


def test_long_lists_of_categories_are_counted():
    rule = InputRule("c", categories=[{f"c{i}" for i in range(50)}])
    found = reasons(rule, np.array([[b"x"]], dtype=object))
    assert found == {0: "input 'c': value 0 of a row must be one of its 50 categories"}


def test_the_first_rule_that_is_broken_gives_the_reason():
    guard = SchemaGuard([InputRule("a", minimum=0.0), InputRule("b", minimum=0.0)], Action.SHADOW)
    both = np.array([[1.0], [-1.0]])
    decisions = guard.check(Rows(len(both), {"a": both, "b": both[::-1]}))
    assert decisions.action.tolist() == [Action.SHADOW] * 2
    assert decisions.reasons[0].startswith("input 'b'")
    assert decisions.reasons[1].startswith("input 'a'")


def test_a_row_that_breaks_a_rule_of_rows_is_told_the_rule_and_its_columns():
    guard = SchemaGuard(
        [InputRule("a", minimum=0.0)],
        Action.REJECT,
        [
            RowRule("a < b", ("a", "b"), lambda inputs: ~(inputs["a"] < inputs["b"])),
            RowRule("b < 3", ("b",), lambda inputs: ~(inputs["b"] < 3)),
        ],
    )
    rows = {"a": np.array([1.0, 2.0, -1.0, 1.0, 9.0]), "b": np.array([2.0, 1.0, -2.0, 7.0, 7.0])}
    decisions = guard.check(Rows(5, rows))
    assert decisions.action.tolist() == [0, 3, 3, 3, 3]
    assert decisions.reasons == {
        1: "'a', 'b' must fulfil: a < b",
        2: "input 'a': the value must be at least 0",
        3: "'b' must fulfil: b < 3",
        4: "'a', 'b' must fulfil: a < b",
    }


def test_no_rules_pass_everything():
    rows = Rows(3, {"x": np.full(3, np.nan)})
    assert SchemaGuard([]).check(rows).action.tolist() == [0, 0, 0]


DTYPES = [np.float16, np.float32, np.float64, np.int8, np.int64, np.uint8, np.uint16, np.bool_]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (20, 3), (7,), (5, 2, 3)])
def test_decides_as_value_by_value(shape, dtype):
    limits = [(None, None), (-1.5, None), (None, 2), (-1, 1), (np.array([-1, -np.inf, 0.1]), 2)]
    for seed in range(40):
        rng = np.random.default_rng(seed)
        minimum, maximum = limits[seed % len(limits)]
        if len(shape) == 1 and np.ndim(minimum):
            continue
        x = (rng.normal(size=shape) * rng.choice([0.3, 1, 3])).astype(np.float32)
        odd = rng.random(shape) < 0.05
        with np.errstate(invalid="ignore"):
            x = x.astype(dtype)
            if x.dtype.kind == "f":
                x[odd] = rng.choice([np.nan, np.inf, -np.inf, -1, 2, 0.1], size=int(odd.sum()))
        kept = x.copy()
        decisions = SchemaGuard([InputRule("x", minimum, maximum)], Action.REJECT).check(
            Rows(len(x), {"x": x})
        )
        rows = [row for row in range(len(x)) if not allowed(x[row], minimum, maximum)]
        assert decisions.action.tolist() == [3 * (row in rows) for row in range(len(x))]
        assert sorted(decisions.reasons) == rows
        np.testing.assert_array_equal(x, kept)


def allowed(row, minimum, maximum):
    """Whether every value of a row is allowed: in Python's numbers, and one by one."""
    if row.dtype.kind not in "fiu":
        return True
    limits = []
    for bound, without in ((minimum, -np.inf), (maximum, np.inf)):
        each = np.broadcast_to(without if bound is None else bound, row.shape)
        # A bound is rounded as values are, so that a value that is the bound passes.
        limits.append((each.astype(row.dtype) if row.dtype.kind == "f" else each).ravel().tolist())
    return all(
        low <= value <= high and np.isfinite(value)
        for value, low, high in zip(row.ravel().tolist(), *limits, strict=True)
    )
