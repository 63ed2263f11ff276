import numpy as np
import pytest

from monitors.reference.column_quality import ColumnQuality, quality_of


def objects(*values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    ("values", "kind", "n", "of_type", "missing", "low", "high"),
    [
        (np.arange(5), "Integral", 5, 5, 0, 0, 4),
        (np.array([1.0, 2.0, np.nan]), "Integral", 2, 2, 1, 1, 2),
        (np.array([1.5, np.inf, -2]), "Fractional", 3, 3, 0, -2, 1.5),
        (np.array([True, False]), "Integral", 2, 2, 0, 0, 1),
        (objects(b"a", "b", None, ""), "String", 2, 2, 2, None, None),
        (objects(b"1", b"2", b""), "Integral", 2, 2, 1, 1, 2),
        (objects(*["0.5"] * 19, "n/a"), "Fractional", 20, 19, 0, 0.5, 0.5),
        (np.full(3, np.nan), "Unknown", 0, 0, 3, None, None),
        (np.array([np.inf]), "Fractional", 1, 1, 0, None, None),
    ],
)
def test_type_completeness_and_limits(values, kind, n, of_type, missing, low, high):
    found = quality_of(values)
    assert found == ColumnQuality(kind, n, of_type, missing, low, high)
    assert ColumnQuality.from_dict(found.to_dict()) == found
