import pytest

from serving.config import ModelConfig, parse
from serving.models.consumers import DATA_QUALITY, DRIFT, PREDICTION_DRIFT
from serving.monitoring.judges.budgets import rate

X = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}


def config(shape, **monitors):
    raw = {"format": "torch_export", "inputs": [X], "outputs": [{**X, "shape": shape}]}
    return parse(ModelConfig, {**raw, "monitors": monitors}, "m")


@pytest.mark.parametrize(("pages", "shape", "each"), [(1, [-1, 2], 6), (2, [-1, -1], 24)])
def test_monitors_that_raise_the_same_share_its_budget(pages, shape, each):
    made = config(shape, false_pages_per_quarter=pages, performance=None)
    assert rate(made, DRIFT) == each
    if shape == [-1, 2]:
        assert rate(made, PREDICTION_DRIFT) == each
    assert rate(made, DATA_QUALITY) == 3 * pages
