import pytest

from monitors.reference.known_values import BUCKETS, SLOTS, KnownValues, bucket, slot


def test_knows_what_it_was_given_and_hardly_anything_else():
    known = KnownValues.of(f"value {at}" for at in range(1000))
    assert all(f"value {at}" in known for at in range(1000))
    strangers = sum(f"stranger {at}" in known for at in range(1000))
    assert strangers / 1000 <= 5 * 1000 / SLOTS


def test_survives_text():
    known = KnownValues.of(["red", "blue"])
    again = KnownValues.from_text(known.to_text())
    assert "red" in again
    assert "green" not in again
    assert len(known.to_text()) < 200


@pytest.mark.parametrize("raw", ["!", "aGVsbG8=", ""])
def test_what_is_no_such_text_is_refused(raw):
    with pytest.raises(ValueError, match="known values"):
        KnownValues.from_text(raw)


def test_slot_and_bucket_use_different_bits():
    texts = [f"value {at}" for at in range(5000)]
    assert {bucket(text) for text in texts} == set(range(BUCKETS))
    in_one_slot: dict[int, set[int]] = {}
    for text in texts:
        in_one_slot.setdefault(slot(text) % 16, set()).add(bucket(text))
    assert all(len(buckets) == BUCKETS for buckets in in_one_slot.values())
