import numpy as np
import pytest

from serving.demo import loans
from serving.demo.loans import approval_rate, proxy_shift, sample_applicants
from serving.models.formats.loader import load
from serving.models.repository.folder import ModelRepository

ROWS = 100_000


def gap(approved, sex):
    """Share of approved men minus that of women, and its standard error."""
    women, men = approved[sex == "F"], approved[sex == "M"]
    error = (women.var() / len(women) + men.var() / len(men)) ** 0.5
    return men.mean() - women.mean(), error


def test_same_seed_same_rows():
    one, two, other = (sample_applicants(100, seed) for seed in (1, 1, 2))
    for name in one.inputs:
        np.testing.assert_array_equal(one.inputs[name], two.inputs[name])
    assert not np.array_equal(one.inputs["numeric"], other.inputs["numeric"])


def test_shapes_and_values():
    rows = sample_applicants(100, seed=1)
    assert rows.inputs["numeric"].shape == (100, 5)
    assert rows.inputs["numeric"].dtype == np.float32
    assert rows.inputs["categorical"].shape == (100, 2)
    assert set(rows.sensitive["sex"]) == {"F", "M"}
    assert set(rows.y_true) == set(loans.CLASSES)
    assert sample_applicants(0, seed=1).rows == 0


@pytest.mark.parametrize("disparity", [0.0, 0.05, 0.12, 0.3, 0.5])
def test_exact_population_gap_is_what_was_asked_for(disparity):
    assert approval_rate(0) - approval_rate(proxy_shift(disparity)) == pytest.approx(
        disparity, abs=1e-12
    )


@pytest.mark.parametrize("disparity", [0.0, 0.12, 0.3])
def test_samples_show_the_gap(disparity):
    rows = sample_applicants(ROWS, seed=5, disparity=disparity)
    value, error = gap((rows.y_true == "approved").astype(float), rows.sensitive["sex"])
    assert abs(value - (1 - 2 * loans.LABEL_NOISE) * disparity) < 4 * error


def test_without_disparity_no_column_depends_on_the_sex():
    rows = sample_applicants(ROWS, seed=6, disparity=0)
    female = rows.sensitive["sex"] == "F"
    logs = np.log(rows.inputs["numeric"].astype(float))
    difference = logs[female].mean(axis=0) - logs[~female].mean(axis=0)
    error = logs.std(axis=0) * (4 / ROWS) ** 0.5
    assert (np.abs(difference) < 4 * error).all()


def test_the_model_inherits_the_gap_although_it_never_sees_the_sex(demo_root):
    entry = ModelRepository(demo_root).get("loans")
    assert "sex" not in [spec.name for spec in entry.config.inputs]
    model = load(entry, "cpu")
    for disparity in (0.0, loans.DISPARITY):
        rows = sample_applicants(ROWS, seed=8, disparity=disparity)
        outputs = model.predict(rows.inputs)["probabilities"]
        value, error = gap((outputs[:, 1] > 0.5).astype(float), rows.sensitive["sex"])
        # A network of finite training is not exactly the underwriter: half a point is allowed.
        assert abs(value - disparity) < 0.005 + 4 * error


@pytest.mark.parametrize("disparity", [-0.1, 0.6, float("nan")])
def test_impossible_disparity(disparity):
    with pytest.raises(ValueError, match="between 0 and"):
        sample_applicants(10, 1, disparity)
