import numpy as np
from numpy.testing import assert_array_equal

from monitors.reference.text_column import MOST_TOKENS, TextColumn, fit_text


def texts(*values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


REFERENCE = [f"order {at} came late again" for at in range(300)]


def test_length_and_unseen_words_are_measured():
    column = fit_text(REFERENCE, 20)
    values = texts(b"order came late", "grosse Verspaetung", "", None, "order zzz")
    length, unseen = column.measured(values)
    assert_array_equal(length, [15, 18, 0, np.nan, 9])
    assert_array_equal(unseen, [0, 1, np.nan, np.nan, 0.5])


def test_of_the_reference_a_word_that_one_row_has_is_unseen():
    column = fit_text(REFERENCE, 20)
    # Each row has its own number among five words.
    assert column.unseen.counts[column.unseen.codes(np.array([0.2]))[0]] == 300


def test_only_so_many_words_are_looked_at():
    column = fit_text([*REFERENCE, None], 20)
    _, unseen = column.measured(texts("order " * MOST_TOKENS + "zzz " * 1000))
    assert unseen.tolist() == [0.0]
    assert column.length.counts[-1] == column.unseen.counts[-1] == 1


def test_survives_json():
    column = fit_text(REFERENCE, 20)
    again = TextColumn.from_dict(column.to_dict())
    assert again.to_dict() == column.to_dict()
    values = texts("order 5 came", "new words")
    assert_array_equal(again.measured(values), column.measured(values))
