import zlib

import numpy as np
import pyarrow as pa
import pytest

from serving.log.id_hashes import crc_pair, crc_pairs


def expected(ids: list[str]) -> list[int]:
    texts = [ident.encode() for ident in ids]
    return [zlib.crc32(text) << 32 | zlib.crc32(text[::-1]) for text in texts]


def some(rng: np.random.Generator, count: int, lengths: list[int]) -> list[str]:
    letters = np.array(list("abc-9\0\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{SNOWMAN}"))
    return ["".join(rng.choice(letters, rng.choice(lengths))) for _ in range(count)]


@pytest.mark.parametrize("lengths", [[36], [1, 2, 3], [0, 7, 64, 65, 200], list(range(70))])
def test_all_at_once_are_as_each_by_itself(lengths: list[int]) -> None:
    rng = np.random.default_rng(len(lengths))
    ids = some(rng, 5000, lengths)
    assert crc_pairs(pa.array(ids)).tolist() == expected(ids)
    assert [crc_pair(ident) for ident in ids[:50]] == expected(ids[:50])


def test_slices_and_chunks_are_read_where_they_begin() -> None:
    ids = some(np.random.default_rng(0), 900, [5, 36])
    array = pa.array(ids)
    assert crc_pairs(array[130:700]).tolist() == expected(ids[130:700])
    chunks = pa.chunked_array([array[:200], array[200:200], array[200:]])
    assert crc_pairs(chunks[100:]).tolist() == expected(ids[100:])


@pytest.mark.parametrize("ids", [[], [""], [""] * 200])
def test_ids_without_a_letter(ids: list[str]) -> None:
    pairs = crc_pairs(pa.array(ids, pa.string()))
    assert pairs.dtype == np.uint64
    assert pairs.tolist() == expected(ids)


def test_an_id_that_is_no_text_has_a_hash() -> None:
    assert crc_pair("\ud800") != crc_pair("\ud801")
