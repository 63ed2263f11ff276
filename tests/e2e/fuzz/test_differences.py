"""The table of known differences: every entry has its cases, and excuses nothing else."""

import random
import re

import pytest

CASES = 6000


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_every_entry_has_a_case(load, protocol):
    known = list(getattr(load("differences"), protocol.upper()))
    generator = random.Random(1)
    made = [load(protocol).case(generator)[0] for _ in range(CASES)]
    wholes = [load("differences").joined(pieces) for pieces in made]
    unused = [
        each.reason
        for each in known
        if not any(re.search(each.pattern, whole, re.DOTALL) for whole in wholes)
    ]
    assert unused == []


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_a_valid_request_is_never_excused(load, protocol):
    cases, differences = load(protocol), load("differences")
    known = getattr(differences, protocol.upper())
    generator = random.Random(2)
    for _ in range(300):
        pieces = cases.pieces(cases.valid(generator))
        for direct, envoy in ((["a"], []), ([], ["a"]), (["a"], ["b"])):
            assert not differences.explained(known, pieces, direct, envoy), pieces


def test_two_answers_are_not_excused_where_one_would_be(load):
    differences = load("differences")
    pieces = (b"GET\t/ HTTP/9.9\r\n \n",)
    assert differences.explained(differences.HTTP1, pieces, [], ["a"])
    assert not differences.explained(differences.HTTP1, pieces, ["b"], ["a"])
