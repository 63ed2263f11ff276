"""From measured rounds to ratios: pure arithmetic, no servers.

A ratio is made inside a round, between two measurements taken seconds apart, and only then is
the median over rounds taken: what slows the whole machine for a minute cancels out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from loadtest.load import Measurement

CONTROL = "control"
"""Key of the entry that measures a section's first contender a second time."""
BASELINE = "vigil-local-off"
"""What Vigil's other variants are compared with as well: shows what checks and Ray cost."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One contender under one load in one round of one section."""

    section: str
    load: str
    round: int
    key: str
    measurement: Measurement

    @property
    def valid(self) -> bool:
        """Whether the round counts."""
        return not self.measurement.problems


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median over rounds, smallest and largest, and how many rounds there were."""

    median: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Paired:
    """One server against another: the first one's median, the other's ratio, and the control."""

    first: float
    ratio: Ratio
    control: Ratio


@dataclass(frozen=True, slots=True)
class Compared:
    """Several servers against one: that one's median, the ratio of each, and the control."""

    first: float
    ratios: Mapping[str, Ratio]
    control: Ratio


@dataclass(frozen=True, slots=True)
class Summary:
    """All rounds of one contender under one load in one section; medians of valid rounds."""

    section: str
    load: str
    key: str
    requests_per_s: float | None
    p50_ms: float | None
    p99_ms: float | None
    valid_rounds: int
    problems: tuple[str, ...]
    reference: str | None = None
    ratio: Ratio | None = None
    to_baseline: Ratio | None = None
    generator_cpu: float | None = None


def better(samples: Sequence[Sample], keys: Sequence[str]) -> str | None:
    """Return which of `keys` has the highest median rate, or None when none has a valid round."""
    medians = {}
    for key in keys:
        rates = [s.measurement.requests_per_s for s in samples if s.key == key and s.valid]
        if rates:
            medians[key] = median(rates)
    return max(medians, key=medians.__getitem__) if medians else None


def ratio(samples: Sequence[Sample], key: str, reference: str) -> Ratio | None:
    """Return the rate of `key` over that of `reference`, from rounds in which both are valid.

    `samples` are of one load and one section.
    """
    rates: dict[tuple[str, int], float] = {
        (s.key, s.round): s.measurement.requests_per_s for s in samples if s.valid
    }
    each = [
        rate / rates[reference, number]
        for (name, number), rate in rates.items()
        if name == key and (reference, number) in rates
    ]
    return _over_rounds(each) if each else None


def _over_rounds(each: Sequence[float]) -> Ratio:
    return Ratio(median(each), min(each), max(each), len(each))


def summarize(samples: Sequence[Sample], references: Sequence[str]) -> list[Summary]:
    """Return one summary for each section, load and contender, in the order of `samples`.

    Ratios are to the better of `references`; the control's is to the contender that it repeats,
    the first of its section.
    """
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.section, sample.load), []).append(sample)
    found: list[Summary] = []
    for group in groups.values():
        reference = better(group, references)
        keys = list(dict.fromkeys(sample.key for sample in group))
        found += [_summary(group, k, keys[0] if k == CONTROL else reference) for k in keys]
    return found


def _summary(group: Sequence[Sample], key: str, reference: str | None) -> Summary:
    mine = [sample for sample in group if sample.key == key]
    valid = [sample.measurement for sample in mine if sample.valid]
    return Summary(
        section=mine[0].section,
        load=mine[0].load,
        key=key,
        requests_per_s=median(m.requests_per_s for m in valid) if valid else None,
        p50_ms=median(m.p50_ms for m in valid) if valid else None,
        p99_ms=median(m.p99_ms for m in valid) if valid else None,
        valid_rounds=len(valid),
        problems=tuple(problem for s in mine for problem in s.measurement.problems),
        reference=reference,
        ratio=ratio(group, key, reference) if reference else None,
        to_baseline=ratio(group, key, BASELINE) if key not in (CONTROL, BASELINE) else None,
        generator_cpu=median(m.generator_cpu for m in valid) if valid else None,
    )


def paired(first: Callable[[int], float], other: Callable[[int], float], rounds: int) -> Paired:
    """Measure `first`, `other` and `first` again in each round, whose number they are given.

    Returns:
        `other` to the mean of its neighbours, and `first` to itself: the A/A control.
    """
    told = compared(first, {"other": other}, rounds)
    return Paired(told.first, told.ratios["other"], told.control)


def compared(
    first: Callable[[int], float], others: Mapping[str, Callable[[int], float]], rounds: int
) -> Compared:
    """Measure `first`, each of `others` and `first` again in each round; see `paired`.

    The others take turns in being the first of them.
    """
    ratios: dict[str, list[float]] = {name: [] for name in others}
    control, values = [], []
    names = list(others)
    for number in range(rounds):
        before = first(number)
        turn = number % len(names)
        now = {name: others[name](number) for name in names[turn:] + names[:turn]}
        again = first(number)
        for name, value in now.items():
            ratios[name].append(2 * value / (before + again))
        control.append(again / before)
        values.append(before)
    of_all = {name: _over_rounds(each) for name, each in ratios.items()}
    return Compared(median(values), of_all, _over_rounds(control))
