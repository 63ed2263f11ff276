import numpy as np

from monitors.rows import Rows
from serving.config import Fairness, Feature, InputSpec, ModelConfig, OutputSpec
from serving.monitoring.group_coverage import GroupCoverage, known_groups


def rows(**groups):
    columns = {name: np.array(values, dtype=object) for name, values in groups.items()}
    return Rows(n=len(next(iter(columns.values()))), timestamp=0.0, groups=columns)


def test_groups_that_nobody_has_named_are_one():
    coverage = GroupCoverage({"sex": ["f", "m"], "town": []})
    coverage.predicted(rows(sex=["f", None, "x"], town=["a", "b", None], age=["1"] * 3))
    told = [{"sex": "f", "town": "a", "age": "1"}, {"town": "b"}, {"sex": "x", "town": None}, {}]
    counts = [coverage.of(groups) for groups in told]
    assert [[(count.attribute, count.group) for count in of_row] for of_row in counts] == [
        [("sex", "f"), ("town", "other")],
        [("town", "other")],
        [("sex", "other")],
        [],
    ]
    assert {(each.attribute, each.group): each.predicted for each in coverage} == {
        ("sex", "f"): 1, ("sex", "m"): 0, ("sex", "other"): 1, ("town", "other"): 2,
    }  # fmt: skip


def test_attributes_that_are_not_watched_are_not_counted():
    coverage = GroupCoverage({"sex": []})
    coverage.predicted(rows(age=["f"]))
    assert coverage.of({"age": "f"}) == []
    assert coverage.state() == {"sex": {"other": [0, 0]}}


def test_counts_go_on_after_a_restart():
    coverage, again = GroupCoverage({"sex": ["f", "m"]}), GroupCoverage({"sex": ["f"], "age": []})
    coverage.predicted(rows(sex=["f", "f", "m"]))
    coverage.of({"sex": "f"})[0].labelled += 1
    again.restore(coverage.state())
    assert again.state() == {"sex": {"f": [2, 1], "other": [0, 0]}, "age": {"other": [0, 0]}}


def test_a_small_group_is_not_shown():
    coverage = GroupCoverage({"sex": ["f", "m"]})
    coverage.predicted(rows(sex=["f"] * 20 + ["m"] * 19))
    assert [count.group for count in coverage if count.shown] == ["f"]


def test_groups_are_known_from_categories_of_sensitive_inputs():
    config = ModelConfig(
        format="torch_export",
        inputs=[
            InputSpec(name="x", datatype="FP32", shape=[-1, 1], features=[Feature(name="age")]),
            InputSpec(
                name="s", datatype="BYTES", shape=[-1, 2], sensitive=True,
                features=[Feature(name="sex", categories=["f", "m"]), Feature(name="town")],
            ),
        ],
        outputs=[OutputSpec(name="p", datatype="FP32", shape=[-1, 2], classes=["no", "yes"])],
        fairness=Fairness(sensitive=["sex", "town", "age"], favorable="yes"),
    )  # fmt: skip
    assert known_groups(config) == {"sex": ["f", "m"], "town": (), "age": ()}
