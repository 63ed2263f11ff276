from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.naive_bayes import GaussianNB

from monitors.estimation.confidence_based import cbpe, fit_cbpe, fit_pape, pape
from monitors.estimation.figures import realised_class_figures
from monitors.estimation.predictions import LabelledPredictions, Predictions

METRICS = ("accuracy", "precision", "recall", "f1", "auroc")


def covered(estimator, live, chunks):
    inside = []
    for rows in np.split(np.arange(live.n), chunks):
        chunk = live.take(rows)
        truth = realised_class_figures(chunk)
        found = estimator.estimate(chunk.predictions)
        inside.append([found[name].low <= truth[name] <= found[name].high for name in METRICS])
    return np.array(inside)


def test_pape_errs_less_than_cbpe_under_covariate_shift(stream):
    errors = {"cbpe": [], "pape": []}
    for seed in range(20):
        reference, live = stream(seed, 1, 2000), stream(seed + 100, 1, 1000, shift=0.8)
        truth = realised_class_figures(live)
        for name, fit in (("cbpe", fit_cbpe), ("pape", fit_pape)):
            found = fit(reference)(live.predictions)
            errors[name].append([abs(found[metric] - truth[metric]) for metric in METRICS])
    cbpe_error, pape_error = (np.mean(errors[name], axis=0) for name in ("cbpe", "pape"))
    assert (pape_error <= cbpe_error).all()
    assert pape_error[0] < 0.7 * cbpe_error[0]


def test_without_a_shift_both_are_within_sampling_error(stream):
    for fit in (fit_cbpe, fit_pape):
        errors = []
        for seed in range(10):
            reference, live = stream(seed, 1, 2000), stream(seed + 100, 1, 1000)
            found = fit(reference)(live.predictions)["accuracy"]
            errors.append(found - realised_class_figures(live)["accuracy"])
        assert abs(np.mean(errors)) < 0.01
        assert np.std(errors) < 0.03


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer])
def test_cbpe_is_within_two_points_on_real_data_with_covariate_shift(load):
    values, labels = load(return_X_y=True)
    values = (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-9)
    errors, raw = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        learnt, rest = np.split(rng.permutation(len(labels)), [len(labels) // 5])
        # Too sure of itself: nearly all of its scores are 0 or 1.
        model = GaussianNB(var_smoothing=1e-2).fit(values[learnt], labels[learnt])
        side = values[rest] @ rng.normal(size=values.shape[1])
        now = rng.random(len(rest)) < 0.6 / (1 + np.exp(-2 * side / side.std()))
        reference, live = (
            LabelledPredictions(
                predictions=Predictions(features={}, scores=model.predict_proba(values[rows])),
                labels=labels[rows],
            )
            for rows in (rest[~now], rest[now])
        )
        truth = realised_class_figures(live)["accuracy"]
        errors.append(abs(fit_cbpe(reference)(live.predictions)["accuracy"] - truth))
        raw.append(abs(live.predictions.scores.max(axis=1).mean() - truth))
    assert np.mean(errors) < 0.025  # half a point for the sampling error of the truth
    assert np.mean(errors) < 0.5 * np.mean(raw)


def test_bands_of_cbpe_cover_a_stream_with_natural_shift(stream):
    inside = []
    for seed in range(15):
        whole = stream(seed, 60, 250, wander=0.25)
        reference, live = whole.take(np.arange(40 * 250)), whole.take(np.arange(40 * 250, 60 * 250))
        inside.append(covered(cbpe(reference, chunk_rows=250, alpha=0.05), live, 20))
    assert np.mean(inside) >= 0.9
    assert (np.mean(inside, axis=(0, 1)) >= 0.9).all()


def test_bands_of_pape_cover_a_stream_with_natural_shift(stream):
    inside = []
    for seed in range(2):
        whole = stream(seed, 32, 150, wander=0.25)
        reference, live = whole.take(np.arange(20 * 150)), whole.take(np.arange(20 * 150, 32 * 150))
        inside.append(covered(pape(reference, chunk_rows=150, alpha=0.05), live, 12))
    assert np.mean(inside) >= 0.9


def test_bands_miss_when_the_concept_has_changed(stream):
    reference = stream(0, 20, 250, wander=0.1)
    estimator = cbpe(reference, chunk_rows=250)
    live = stream(1, 10, 250, wander=0.1, flipped=0.4)
    assert covered(estimator, live, 10)[:, 0].mean() <= 0.1


def test_three_classes(stream):
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(3), size=3000)
    # Scores are too sure of themselves: half of the answers are at random.
    drawn = (rng.random((3000, 1)) > scores.cumsum(axis=1)).sum(axis=1)
    labels = np.where(rng.random(3000) < 0.5, drawn, rng.integers(3, size=3000))
    rows = LabelledPredictions(predictions=Predictions(features={}, scores=scores), labels=labels)
    first, last = rows.take(np.arange(2000)), rows.take(np.arange(2000, 3000))
    truth = realised_class_figures(last)
    for fit in (fit_cbpe, fit_pape):
        found = fit(first)(last.predictions)
        for name in METRICS:
            assert found[name] == pytest.approx(truth[name], abs=0.05)
    assert scores.max(axis=1).mean() - truth["accuracy"] > 0.1  # what scores say by themselves


def test_what_is_wrong_is_named(stream):
    reference = stream(0, 1, 200)
    scores = reference.predictions.scores
    with pytest.raises(ValueError, match="labels are all of class 0"):
        fit_cbpe(replace(reference, labels=np.zeros(200, np.int64)))
    alike = replace(reference.predictions, scores=np.full((200, 2), 0.5))
    with pytest.raises(ValueError, match=r"score of class 0 is 0\.5 in every row"):
        fit_pape(replace(reference, predictions=alike))
    with pytest.raises(ValueError, match="scores are missing"):
        fit_cbpe(
            replace(reference, predictions=Predictions(features={}, predicted=reference.labels))
        )
    other = replace(reference.predictions, features={"x0": scores[:, 0], "x1": scores[:, 0]})
    with pytest.raises(ValueError, match="column x2 of the reference is missing"):
        fit_pape(reference)(other)
    three = Predictions(
        features=reference.predictions.features, scores=np.column_stack((scores, scores[:, 0]))
    )
    for fit in (fit_cbpe, fit_pape):
        with pytest.raises(
            ValueError, match="scores have 3 classes; those of the reference have 2"
        ):
            fit(reference)(three)
