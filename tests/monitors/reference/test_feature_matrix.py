import numpy as np
import pytest

from monitors.reference.feature_matrix import FeatureMatrix


def test_numbers_stay_and_categories_become_codes():
    region = np.array(["north"] * 40 + ["south"] * 30 + ["rare"], object)
    matrix = FeatureMatrix({"region": region, "age": np.arange(71)})
    assert matrix.names == ["age", "region"]
    assert matrix.categorical.tolist() == [False, True]
    found = matrix.of(
        {
            "age": np.array([1.5, np.nan, np.inf, -np.inf]),
            "region": np.array(["south", None, "new", b"north"], object),
        }
    )
    assert found[0, 0] == 1.5
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[2:]).all()
    assert found[[0, 2, 3], 1].tolist() == [1, 2, 0]


def test_columns_that_differ_are_named():
    matrix = FeatureMatrix({"age": np.arange(3.0), "region": np.array(["a", "b", "c"])})
    with pytest.raises(ValueError, match="column region of the reference is missing"):
        matrix.of({"age": np.arange(3.0)})
    with pytest.raises(ValueError, match="column age is numbers in the reference and text"):
        matrix.of({"age": np.array(["a"]), "region": np.array(["a"])})
    with pytest.raises(ValueError, match="column region is text in the reference and numbers"):
        matrix.of({"age": np.arange(1.0), "region": np.arange(1.0)})
    with pytest.raises(ValueError, match="column height of the rows is missing"):
        matrix.of(
            {"age": np.arange(1.0), "region": np.array(["a"]), "height": np.arange(1.0)}
        )  # fmt: skip
