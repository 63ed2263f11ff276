import numpy as np
import pytest
from sklearn import metrics

from monitors.estimation.figures import (
    answers,
    expected_auroc,
    expected_figures,
    realised_class_figures,
    realised_number_figures,
)
from monitors.estimation.predictions import LabelledPredictions, Predictions


def rows(classes, seed=0, n=300):
    rng = np.random.default_rng(seed)
    # Rounded, so that there are ties.
    scores = np.round(rng.dirichlet(np.ones(classes), size=n), 2)
    scores /= scores.sum(axis=1, keepdims=True)
    labels = (rng.random((n, 1)) > scores.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return LabelledPredictions(predictions=Predictions(features={}, scores=scores), labels=labels)


@pytest.mark.parametrize("classes", [2, 4])
def test_realised_figures_equal_scikit_learn(classes):
    given = rows(classes)
    found = realised_class_figures(given)
    predicted = given.predictions.scores.argmax(axis=1)
    average = "binary" if classes == 2 else "macro"
    scores = given.predictions.scores
    areas = [
        metrics.roc_auc_score(given.labels == at, scores[:, at])
        for at in ([1] if classes == 2 else range(classes))
    ]
    expected = {
        "accuracy": metrics.accuracy_score(given.labels, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(given.labels, predicted),
        "precision": metrics.precision_score(given.labels, predicted, average=average),
        "recall": metrics.recall_score(given.labels, predicted, average=average),
        "f1": metrics.f1_score(given.labels, predicted, average=average),
        "auroc": np.mean(areas),
        "log_loss": metrics.log_loss(given.labels, scores),
        "brier": metrics.brier_score_loss(given.labels, scores),
    }
    assert found == pytest.approx(expected)


def test_scores_that_are_no_probabilities_have_no_loss():
    given = rows(2)
    logits = LabelledPredictions(
        predictions=Predictions(features={}, scores=given.predictions.scores * 7 - 3),
        labels=given.labels,
    )
    found, expected = realised_class_figures(logits), realised_class_figures(given)
    assert np.isnan([found["log_loss"], found["brier"]]).all()
    assert found["auroc"] == pytest.approx(expected["auroc"])


def test_expected_figures_are_means_over_labels_that_are_drawn():
    given = rows(2, n=400)
    probabilities = np.column_stack((1 - given.predictions.scores[:, 1],) * 2)
    probabilities[:, 1] = given.predictions.scores[:, 1]
    rng = np.random.default_rng(1)
    drawn = [
        realised_class_figures(
            LabelledPredictions(
                predictions=given.predictions,
                labels=(rng.random(400) < probabilities[:, 1]).astype(np.int64),
            )
        )
        for _ in range(300)
    ]
    for name, value in expected_figures(given.predictions, probabilities).items():
        # Figures are ratios, so the expectation of one is that of its parts up to 1 / n.
        assert value == pytest.approx(np.mean([each[name] for each in drawn]), abs=0.004)


def test_a_given_prediction_counts_and_not_the_highest_score():
    given = rows(2)
    other = LabelledPredictions(
        predictions=Predictions(
            features={}, scores=given.predictions.scores, predicted=given.labels
        ),
        labels=given.labels,
    )
    assert realised_class_figures(other)["accuracy"] == 1


def test_what_is_not_defined_is_nan():
    scores = np.array([[0.9, 0.1], [0.8, 0.2]])
    given = LabelledPredictions(
        predictions=Predictions(features={}, scores=scores), labels=np.array([0, 0])
    )
    found = realised_class_figures(given)
    assert found["accuracy"] == 1
    assert np.isnan([found["precision"], found["recall"], found["f1"], found["auroc"]]).all()
    assert np.isnan(expected_auroc(np.array([0.3]), np.array([0.5])))


def test_numbers():
    given = LabelledPredictions(
        predictions=Predictions(features={}, predicted=np.array([1.0, 2.0, 5.0])),
        labels=np.array([1.0, 4.0, 4.0]),
    )
    assert realised_number_figures(given) == pytest.approx({"mae": 1, "rmse": (5 / 3) ** 0.5})
    with pytest.raises(ValueError, match="predicted is missing"):
        answers(Predictions(features={}, scores=np.eye(2)))
