import numpy as np

from monitors.reference.profile import ReferenceProfile
from serving.config import ModelConfig
from serving.models.profile.dataset import Dataset
from serving.models.profile.not_learnt import not_learnt, not_learnt_of_rows

CONFIG = ModelConfig.model_validate(
    {
        "format": "torch_export",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2], "classes": ["n", "y"]}],
        "fairness": {"sensitive": ["sex"], "favorable": "y"},
    }
)


def texts(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def told(rows, *, ordered=False, **columns):
    values = columns or {"x": np.random.default_rng(0).normal(size=rows)}
    times = np.arange(float(rows)) if ordered else None
    return list(not_learnt(ReferenceProfile.fit(values, times=times), ordered=ordered))


def test_enough_rows_with_times_teach_everything():
    assert told(1000, ordered=True) == []


def test_what_few_rows_or_rows_without_times_lack():
    (order,) = told(1000)
    assert "--time" in order
    windows, tails = told(40, ordered=True)
    assert "40 rows are too few to be cut in windows" in windows
    assert tails.startswith("tails: 40 rows are too few")


def test_columns_are_named_by_what_is_not_seen_in_them():
    columns = {f"c{at}": np.full(300, 7.0) for at in range(7)}
    columns["gone"] = np.full(300, np.nan)
    columns["note"] = np.array([f"text {at}" for at in range(300)])
    lines = told(300, ordered=True, **columns)
    five = "'c0', 'c1', 'c2', 'c3', 'c4'"
    assert lines == [
        "column 'gone': no row has a value, so only its share of missing values is watched",
        f"column {five} and 2 more: has one value only, so another one is all that can be seen",
        "column 'note': has no frequent values, so its length and its unseen words are watched",
    ]


def test_too_many_columns_have_no_pairs():
    rng = np.random.default_rng(1)
    (line,) = told(300, ordered=True, **{f"c{at}": rng.normal(size=300) for at in range(31)})
    assert line.startswith("pairs of columns: 31 numeric columns are more than 30")


def test_labels_and_groups_are_told_without_naming_a_group():
    x = np.zeros((150, 1), np.float32)
    bare = list(not_learnt_of_rows(Dataset({"x": x}), CONFIG))
    assert [line.partition(":")[0] for line in bare] == ["labels", "fairness"]
    same = Dataset({"x": x}, texts(["y"] * 150), {"sex": texts(["f"] * 150)})
    assert list(not_learnt_of_rows(same, CONFIG)) == [
        "labels: all rows have the same one",
        "fairness: all rows have the same 'sex'",
    ]
    few = Dataset({"x": x}, texts(["y", "n"] * 75), {"sex": texts(["f"] * 140 + ["m"] * 10)})
    (line,) = not_learnt_of_rows(few, CONFIG)
    assert line == "fairness: 1 of 2 groups of 'sex' have fewer than 100 rows"
