import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from guards.rows import Rows
from serving.models.formats.loader import load
from serving.models.guards.build import build_guard
from serving.models.profile.dataset import read_dataset
from serving.models.repository.folder import ModelRepository


@pytest.fixture(params=["digits", "cancer", "loans"])
def entry(request, demo_root):
    return ModelRepository(demo_root).get(request.param)


def split(entry, name):
    return read_dataset(entry.directory / f"{name}.parquet", entry.config)


def predicted(entry, dataset):
    outputs = load(entry, "cpu").predict(dataset.inputs)["probabilities"]
    return np.array(entry.config.outputs[0].classes)[outputs.argmax(axis=1)]


# The labels of loans are reversed in 3 % of the rows, so .97 is the best there is.
FLOORS = {"digits": 0.97, "cancer": 0.95, "loans": 0.94}


def test_accuracy_on_rows_not_trained_on(entry):
    test = split(entry, "test")
    assert (predicted(entry, test) == test.y_true).mean() >= FLOORS[entry.name]


def test_no_row_is_in_two_splits(entry):
    name = entry.config.inputs[0].name
    rows = [split(entry, part).inputs[name] for part in ("reference", "heldout", "test")]
    keys = [{row.tobytes() for row in array} for array in rows]
    assert len(set.union(*keys)) == sum(map(len, keys))


def test_every_class_in_every_split(entry):
    classes = set(entry.config.outputs[0].classes)
    for part in ("reference", "heldout", "test"):
        assert set(split(entry, part).y_true) == classes


def test_inputs_are_within_the_declared_ranges(entry):
    for part in ("reference", "heldout", "test"):
        inputs = split(entry, part).inputs
        for spec in entry.config.inputs:
            array = inputs[spec.name]
            if spec.min is not None:
                assert spec.min <= array.min() <= array.max() <= spec.max
            for index, feature in enumerate(spec.features or []):
                column = array[:, index]
                if feature.categories:
                    assert {value.decode() for value in column} <= set(feature.categories)
                if feature.min is not None:
                    assert column.min() >= feature.min
                if feature.max is not None:
                    assert column.max() <= feature.max


def test_foreign_images_are_flagged_and_digits_mostly_not(demo_root):
    digits = ModelRepository(demo_root).get("digits")
    model = load(digits, "cpu")
    [section] = [guard for guard in digits.config.guards if guard.name == "mahalanobis"]
    guard = build_guard(digits, section)

    def flagged(images):
        features = model.predict_with_features({"image": images}).features
        return (guard.check(Rows(len(features), features=features)).action > 0).mean()

    noise = np.random.default_rng(0).uniform(0, 16, (300, 1, 8, 8)).astype(np.float32)
    assert flagged(noise) > 0.9
    # 359 rows: three standard errors about the stated 5 %.
    assert flagged(split(digits, "test").inputs["image"]) < 0.05 + 3 * (0.05 * 0.95 / 359) ** 0.5


def test_features_of_cancer_are_scikit_learns(demo_root):
    (spec,) = ModelRepository(demo_root).get("cancer").config.inputs
    assert [feature.name for feature in spec.features] == list(load_breast_cancer().feature_names)
    assert all(feature.min == 0 for feature in spec.features)


def test_unknown_categories_still_get_an_answer(demo_root):
    loans = ModelRepository(demo_root).get("loans")
    inputs = dict(split(loans, "test").take(np.arange(4)).inputs)
    inputs["categorical"] = np.full((4, 2), b"yacht", object)
    outputs = load(loans, "cpu").predict(inputs)["probabilities"]
    np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-6)
