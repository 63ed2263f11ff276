import numpy as np

from monitors.rows import Rows
from serving.config import Fairness, Feature, InputSpec, ModelConfig, OutputSpec
from serving.monitoring.group_coverage import GroupCoverage, known_groups


def rows(**groups):
    columns = {name: np.array(values, dtype=object) for name, values in groups.items()}
    return Rows(n=len(next(iter(columns.values()))), timestamp=0.0, groups=columns)


def test_groups_that_nobody_has_named_are_one():
    coverage = GroupCoverage({"sex": ["f", "m"], "town": []})
    counts = coverage.predicted(rows(sex=["f", None, "x"], town=["a", "b", None], age=["1"] * 3))
    assert [[(count.attribute, count.group) for count in of_row] for of_row in counts] == [
        [("sex", "f"), ("town", "other")],
        [("town", "other")],
        [("sex", "other")],
    ]
    assert {(each.attribute, each.group): each.predicted for each in coverage} == {
        ("sex", "f"): 1, ("sex", "m"): 0, ("sex", "other"): 1, ("town", "other"): 2,
    }  # fmt: skip


def test_rows_without_groups_cost_nothing():
    assert GroupCoverage({}).predicted(rows(sex=["f"])) is None
    assert GroupCoverage({"sex": []}).predicted(rows(age=["f"])) is None


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
