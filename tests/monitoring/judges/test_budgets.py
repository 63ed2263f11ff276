import pytest

from serving.config import ModelConfig, parse
from serving.models.consumers import DATA_QUALITY, DRIFT, PREDICTION_DRIFT
from serving.monitoring.judges.budgets import rate

X = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}


@pytest.mark.parametrize("pages", [1, 2])
def test_infos_and_tickets_follow_from_false_pages(pages):
    raw = {"format": "torch_export", "inputs": [X], "outputs": [X]}
    config = parse(ModelConfig, {**raw, "monitors": {"false_pages_per_quarter": pages}}, "m")
    assert rate(config, DRIFT) + rate(config, PREDICTION_DRIFT) == 12 * pages
    assert rate(config, DATA_QUALITY) == 3 * pages
