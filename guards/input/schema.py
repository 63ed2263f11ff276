"""Values that the model's schema does not allow: not finite, out of range, unknown category.

And rows that break a rule about several of their values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from guards.decisions import Action, Decisions
from guards.guard import Needs, Stage
from guards.rows import Rows

_LARGEST_BF16 = 0x7F7F_0000  # the bits of this float32
_NAMED_CATEGORIES = 10  # more of them would make a reason that nobody reads


@dataclass(frozen=True, slots=True)
class InputRule:
    """What the values of one input may be. Floating-point values must be finite or missing.

    Attributes:
        name: of the input.
        minimum: smallest allowed value: of every element, or per element of a row (any shape
            that broadcasts against one row); -inf where there is none.
        maximum: largest allowed value, likewise; inf where there is none.
        categories: of a BYTES input [n, k], per column the allowed values, None for any.
        feature_names: names of the columns of an input [n, k], for the reasons.
        missing: of an input [n, k], per column whether a value may be missing there, which is NaN
            or the empty text; None: nowhere.
        bits: whether its values travel as the bits of BF16, in uint16.
    """

    name: str
    minimum: np.ndarray | float | None = None
    maximum: np.ndarray | float | None = None
    categories: Sequence[AbstractSet[str] | None] | None = None
    feature_names: Sequence[str] | None = None
    missing: Sequence[bool] | None = None
    bits: bool = False


@dataclass(frozen=True, slots=True)
class RowRule:
    """What the values of a row must be together.

    Attributes:
        text: the rule, as people wrote it, for the reasons.
        columns: names of the columns that it is about.
        broken: which rows break it, bool [n], of the inputs of a batch by name.
    """

    text: str
    columns: Sequence[str]
    broken: Callable[[Mapping[str, np.ndarray]], np.ndarray]


class SchemaGuard:
    """Range, finiteness and category checks, and rules of rows, vectorised over the batch.

    A reason names the feature and what is allowed, never the value that was sent.

    Args:
        rules: one per input that is to be checked.
        action: what happens to a row that breaks a rule.
        row_rules: rules about several values of a row.
    """

    name = "schema"
    stage = Stage.INPUT
    needs = Needs(inputs=True)

    def __init__(
        self,
        rules: Sequence[InputRule],
        action: Action = Action.FLAG,
        row_rules: Sequence[RowRule] = (),
    ) -> None:
        self.action = action
        self._row_rules = [(each.broken, _said(each)) for each in row_rules]
        self._rules: list[_Values | _Categories] = []
        for rule in rules:
            self._rules.append(_Values(rule))
            if rule.categories is not None:
                self._rules.append(_Categories(rule, rule.categories))

    def check(self, rows: Rows) -> Decisions:
        """Judge a batch by its inputs, among which is every one that has a rule."""
        inputs = rows.inputs
        reasons: dict[int, str] = {}
        for rule in self._rules:
            values = inputs[rule.name]
            if not rule.holds(values):
                reasons = rule.reasons(values) | reasons
        for broken, said in self._row_rules:
            found = broken(inputs)
            if np.count_nonzero(found):
                reasons = dict.fromkeys(np.flatnonzero(found).tolist(), said) | reasons
        action = np.zeros(rows.n, dtype=np.uint8)
        if reasons:
            action[list(reasons)] = self.action
        return Decisions(guard=self.name, action=action, reasons=reasons)


class _Values:
    """Finiteness and range of one numeric input."""

    def __init__(self, rule: InputRule) -> None:
        self.name = rule.name
        self._names = rule.feature_names
        self._bounded = rule.minimum is not None or rule.maximum is not None
        self._minimum = np.asarray(-np.inf if rule.minimum is None else rule.minimum, np.float64)
        self._maximum = np.asarray(np.inf if rule.maximum is None else rule.maximum, np.float64)
        self._missing = np.array(rule.missing, np.bool_) if any(rule.missing or ()) else None
        self._cast: dict[np.dtype[np.generic], tuple[np.ndarray, np.ndarray]] = {}
        self._bits = rule.bits

    def holds(self, values: np.ndarray) -> bool:
        """Whether every value is allowed."""
        if self._bits:
            values = _of_bf16(values)
        kind = values.dtype.kind
        if kind != "f" and (kind not in "iu" or not self._bounded):
            return True
        low, high = self._cast.get(values.dtype) or self._bounds(values.dtype)
        # Comparisons with NaN are false, and the bounds are finite: this is all of the check.
        allowed = values >= low
        allowed &= values <= high
        if np.count_nonzero(allowed) == allowed.size:
            return True
        allowed |= self._may_miss(values)
        return bool(np.count_nonzero(allowed) == allowed.size)

    def reasons(self, values: np.ndarray) -> dict[int, str]:
        """Return why rows break the rule, by row index; one reason per row."""
        if self._bits:
            values = _of_bf16(values)
        low, high = self._bounds(values.dtype)
        finite = np.isfinite(values)
        found: dict[int, str] = {}
        allowed = (finite & (values >= low) & (values <= high)) | self._may_miss(values)
        broken = np.argwhere(~allowed)
        for row, *place in broken.tolist():
            if row in found:
                continue
            at = tuple(place)
            text = "must be a finite number"
            if self._missing is not None and self._missing[at]:
                text += " or missing"
            if finite[(row, *at)]:
                below = values[(row, *at)] < np.broadcast_to(low, values.shape[1:])[at]
                bound = self._minimum if below else self._maximum
                limit = float(np.broadcast_to(bound, values.shape[1:])[at])
                text = f"must be at {'least' if below else 'most'} {limit:.15g}"
            found[row] = f"input '{self.name}': {_place(self._names, at)} {text}"
        return found

    def _may_miss(self, values: np.ndarray) -> np.ndarray | bool:
        """Return which values are missing where they may be."""
        if self._missing is None or values.dtype.kind != "f":
            return False
        may: np.ndarray = np.isnan(values) & self._missing
        return may

    def _bounds(self, dtype: np.dtype[np.generic]) -> tuple[np.ndarray, np.ndarray]:
        """Bounds in the precision of the values, so that a value that is the bound passes."""
        if dtype.kind != "f":
            return self._minimum, self._maximum
        if dtype not in self._cast and self._bits:
            self._cast[dtype] = _as_bf16(self._minimum), _as_bf16(self._maximum)
        elif dtype not in self._cast:
            largest = float(np.finfo(dtype.type).max)  # type: ignore[type-var]  # kind is "f"
            self._cast[dtype] = (
                np.clip(self._minimum, -largest, largest).astype(dtype),
                np.clip(self._maximum, -largest, largest).astype(dtype),
            )
        return self._cast[dtype]


class _Categories:
    """Allowed values of the columns of one BYTES input."""

    def __init__(self, rule: InputRule, categories: Sequence[AbstractSet[str] | None]) -> None:
        self.name = rule.name
        self._names = rule.feature_names
        self._allowed: list[tuple[int, frozenset[bytes], str]] = []
        for column, given in enumerate(categories):
            if given is None:
                continue
            allowed = frozenset(text.encode() for text in given)
            said = _one_of(allowed)
            if rule.missing is not None and rule.missing[column]:
                allowed, said = allowed | {b""}, f"{said}, or missing"
            self._allowed.append((column, allowed, said))

    def holds(self, values: np.ndarray) -> bool:
        """Whether every value is allowed."""
        return all(allowed.issuperset(values[:, at].tolist()) for at, allowed, _ in self._allowed)

    def reasons(self, values: np.ndarray) -> dict[int, str]:
        """Return why rows break the rule, by row index; one reason per row."""
        found: dict[int, str] = {}
        for column, allowed, said in self._allowed:
            text = f"input '{self.name}': {_place(self._names, (column,))} {said}"
            for row, value in enumerate(values[:, column].tolist()):
                if value not in allowed:
                    found.setdefault(row, text)
        return found


def _of_bf16(bits: np.ndarray) -> np.ndarray:
    """Return the numbers, float32: BF16 is its upper half."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _as_bf16(bounds: np.ndarray) -> np.ndarray:
    """Return bounds as BF16 has them, so that a value that is the bound passes; none is infinite.

    They are rounded to nearest even, as values are.
    """
    largest = float(np.array(_LARGEST_BF16, np.uint32).view(np.float32))
    raw = np.asarray(np.clip(bounds, -largest, largest), np.float32).view(np.uint32)
    rounded = (raw + np.uint32(0x7FFF) + ((raw >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return _of_bf16(rounded)


def _said(rule: RowRule) -> str:
    columns = ", ".join(f"'{name}'" for name in rule.columns)
    return f"{columns} must fulfil: {rule.text}"


def _one_of(allowed: frozenset[bytes]) -> str:
    if len(allowed) > _NAMED_CATEGORIES:
        return f"must be one of its {len(allowed)} categories"
    return "must be one of " + ", ".join(f"'{value.decode()}'" for value in sorted(allowed))


def _place(names: Sequence[str] | None, at: tuple[int, ...]) -> str:
    if not at:
        return "the value"
    if names is not None:
        return f"'{names[at[-1]]}'"
    return f"value {list(at)} of a row" if len(at) > 1 else f"value {at[0]} of a row"
