import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from serving.config import Batching
from serving.models.bucket_sizes import bucket_of, buckets_of, pieces
from serving.models.torch.buckets import in_buckets, padded

BUCKETS = st.sets(st.integers(1, 20), min_size=1).map(sorted)


@pytest.mark.parametrize(
    ("batching", "buckets"),
    [
        (Batching(), (1, 2, 4, 8, 16, 32, 64)),
        (Batching(max_batch_size=8), (1, 2, 4, 8)),
        (Batching(max_batch_size=12), (1, 2, 4, 8, 12)),
        (Batching(max_batch_size=1), (1,)),
        (Batching(max_batch_size=500), (1, 2, 4, 8, 16, 32, 64)),
        (Batching(buckets=[3, 300]), (3, 300)),
    ],
)
def test_which_buckets(batching, buckets):
    assert buckets_of(batching) == buckets


@given(BUCKETS, st.integers(1, 100))
def test_pieces_cover_every_row_once_and_fit(buckets, rows):
    cut = pieces(rows, buckets)
    assert [row for piece in cut for row in range(rows)[piece]] == list(range(rows))
    assert all(piece.stop - piece.start <= buckets[-1] for piece in cut)


@given(BUCKETS, st.data())
def test_the_smallest_bucket_that_holds_the_rows(buckets, data):
    rows = data.draw(st.integers(1, buckets[-1]))
    found = bucket_of(rows, buckets)
    assert found >= rows
    assert not [bucket for bucket in buckets if rows <= bucket < found]


def test_padding_repeats_a_row_that_the_model_takes():
    rows = torch.tensor([[1, 2], [3, 4]])
    assert padded(rows, 4).tolist() == [[1, 2], [3, 4], [1, 2], [1, 2]]
    assert padded(rows, 2) is rows


@given(BUCKETS, st.integers(1, 100))
def test_answers_are_those_of_the_rows_whatever_their_number(buckets, rows):
    seen = []

    def run(x, codes):
        seen.append(len(x))
        return (x * 2, codes), x.sum(1)

    x = torch.arange(rows * 3, dtype=torch.float32).reshape(rows, 3)
    codes = torch.arange(rows)
    (doubled, same), total = in_buckets(run, buckets)(x, codes)
    assert torch.equal(doubled, x * 2)
    assert torch.equal(same, codes)
    assert torch.equal(total, x.sum(1))
    assert set(seen) <= set(buckets)


def test_what_is_not_one_row_per_row_stays_visible():
    assert in_buckets(lambda x: x[0], [4])(torch.ones(3, 2)).shape == (2,)
    assert in_buckets(lambda x: "text", [4])(torch.ones(9, 2)) == "text"
