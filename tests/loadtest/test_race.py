from pathlib import Path

from loadtest.contenders import CONTENDERS, Contender
from loadtest.load import Load
from loadtest.process import Server
from loadtest.race import sections
from loadtest.ratios import CONTROL


def _start(home: Path) -> Server:
    raise AssertionError("a plan starts nobody")


def _contender(key: str, ray: bool = False, protocols: tuple[str, ...] = ("json",)) -> Contender:
    return Contender(key, key, frozenset(protocols), _start, ray)  # type: ignore[arg-type]


def test_every_ray_contender_has_a_section_of_its_own():
    a, b, r, s = _contender("a"), _contender("b"), _contender("r", True), _contender("s", True)
    found = sections([a, b, r, s], [Load("json", 1)], [Load("json", 1)])
    assert [[c.key for c in section.contenders] for section in found] == [
        ["a", "b"],
        ["a", "b", "r"],
        ["a", "b", "s"],
    ]


def test_ray_sections_skip_loads_that_their_contender_does_not_speak():
    found = sections([_contender("r", True)], [], [Load("json", 1), Load("grpc", 1, 1)])
    assert [load.name for load in found[0].loads] == ["json-1"]


def test_a_round_ends_with_the_first_contender_again():
    (section,) = sections([_contender("a"), _contender("b")], [Load("json", 1)], [])
    entries = [(key, contender.key) for key, contender in section.entries(section.loads[0])]
    assert entries == [("a", "a"), ("b", "b"), (CONTROL, "a")]
    assert section.steps(rounds=5) == 15


def test_contenders_have_different_keys_and_labels():
    assert len({c.key for c in CONTENDERS}) == len({c.label for c in CONTENDERS}) == len(CONTENDERS)
