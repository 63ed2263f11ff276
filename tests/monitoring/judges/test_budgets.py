import pytest

from serving.config import ModelConfig, parse
from serving.models.consumers import DATA_QUALITY, DRIFT, GUARD_RATE, PREDICTION_DRIFT
from serving.monitoring.judges.budgets import rate

X = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}


@pytest.mark.parametrize("pages", [1, 2])
def test_infos_and_tickets_follow_from_false_pages(pages):
    raw = {"format": "torch_export", "inputs": [X], "outputs": [X]}
    config = parse(ModelConfig, {**raw, "monitors": {"false_pages_per_quarter": pages}}, "m")
    assert rate(config, DRIFT) + rate(config, PREDICTION_DRIFT) == 12 * pages
    assert rate(config, DATA_QUALITY) == rate(config, GUARD_RATE) == 3 * pages


def test_slices_share_what_their_monitors_may_spend():
    inputs = [{"name": "age", "datatype": "FP32", "shape": [-1]}]
    raw = {"format": "torch_export", "inputs": inputs, "outputs": [X]}
    slices = {"slices": ["age > 60", "age < 20"]}
    config = parse(ModelConfig, {**raw, "monitors": slices}, "m")
    assert rate(config, DRIFT) == 2
    assert rate(config, GUARD_RATE) == 3  # guards judge no slices
