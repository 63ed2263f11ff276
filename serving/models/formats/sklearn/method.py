"""Which method of a scikit-learn estimator gives an output that `model.yaml` declares.

`method` names it. Where that is left out, the methods that the estimator has are held against the
declared datatype and shape, and a choice is made only where there is none to make.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np

from serving.config import ConfigError, Datatype, OutputSpec, SklearnMethod
from serving.models.formats.sklearn.nesting import last, tags_of
from serving.protocol.datatypes import NUMPY_OF

FLOATS: Final = ("FP64", "FP32", "FP16", "BF16")
_SIGNED: Final = ("INT64", "INT32", "INT16", "INT8")
_INTEGERS: Final = (*_SIGNED, "UINT64", "UINT32", "UINT16", "UINT8")
_WIDE: Final = ("INT64", "INT32")
_ANY: Final = get_args(Datatype)

Shapes = tuple[tuple[int, ...], ...]
_ONE: Final[Shapes] = ((),)
_MANY: Final[Shapes] = ((-1,),)


@dataclass(frozen=True, slots=True)
class Form:
    """What a method gives.

    Attributes:
        datatypes: those it can be declared as, the usual one first.
        shapes: what may follow the row axis; -1 is a size that the estimator does not tell.
        only_named: `model.yaml` must name the method, since another meaning is as likely.
        refusal: why it cannot be served; empty if it can.
    """

    datatypes: tuple[str, ...]
    shapes: Shapes
    only_named: bool = False
    refusal: str = ""

    def fits(self, spec: OutputSpec) -> bool:
        """Whether an output can be declared so."""
        declared = spec.shape[1:]
        return spec.datatype in self.datatypes and any(
            len(shape) == len(declared)
            and all(-1 in pair or pair[0] == pair[1] for pair in zip(shape, declared, strict=True))
            for shape in self.shapes
        )

    def __str__(self) -> str:
        shown = " or ".join(str([-1, *shape]) for shape in self.shapes)
        return f"{'any datatype' if self.datatypes == _ANY else self.datatypes[0]} {shown}"


def method_of(weights: object, estimator: Any, spec: OutputSpec) -> SklearnMethod:
    """Return the method that gives the output `spec`.

    Without `method` in `model.yaml`, a classifier gives an output of [-1, classes] by
    `predict_proba` if it has that, and a regressor gives one by `predict`. Anything else must be
    what exactly one of the estimator's methods can give.

    Raises:
        ConfigError: no method, or more than one, can give it; the sentence names those there are.
    """
    where = f"{weights}: output '{spec.name}'"
    offered = forms(estimator)
    chosen = spec.method or _only(where, estimator, offered, spec)
    form = offered.get(chosen)
    if form is None:
        raise ConfigError(
            f"{where}: {_name(estimator)} has no {chosen}; it offers {_listed(offered)}; write one "
            f"of them as `method`"
        )
    if form.refusal:
        raise ConfigError(f"{where}: {form.refusal}")
    if not form.fits(spec):
        raise ConfigError(
            f"{where}: {chosen} of {_name(estimator)} gives {form}, model.yaml declares "
            f"{_declared(spec)}"
        )
    if chosen in ("predict_proba", "decision_function") and len(spec.shape) == 2:
        _check_classes(where, spec, getattr(estimator, "classes_", None))
    return chosen


def forms(estimator: Any) -> dict[SklearnMethod, Form]:
    """Return what each method that the estimator has gives, as far as the estimator tells."""
    return {
        name: form(estimator)
        for name, form in _FORMS.items()
        if callable(getattr(estimator, name, None))
    }


def _only(
    where: str, estimator: Any, offered: dict[SklearnMethod, Form], spec: OutputSpec
) -> SklearnMethod:
    able: list[SklearnMethod] = [
        name
        for name, form in offered.items()
        if form.fits(spec) and not form.only_named and not form.refusal
    ]
    preferred = {"classifier": "predict_proba", "regressor": "predict"}.get(_type(estimator))
    if _classes(estimator) is not None:
        preferred = "predict_proba"
    for name in able:
        if name == preferred or len(able) == 1:
            return name
    refusals = [form.refusal for form in offered.values() if form.refusal]
    if refusals and spec.datatype in FLOATS:
        raise ConfigError(f"{where}: {refusals[0]}")
    if able:
        raise ConfigError(
            f"{where}: {' and '.join(able)} of {_name(estimator)} give {_declared(spec)}; write "
            f"`method` for the output to say which of them is meant (it offers {_listed(offered)})"
        )
    raise ConfigError(
        f"{where}: {_name(estimator)} offers {_listed(offered)}, and model.yaml declares "
        f"{_declared(spec)}; declare what one of these gives, and write `method` to say which"
    )


def _predict(estimator: Any) -> Form:
    classes = _classes(estimator)
    if classes is not None:
        return _labels(estimator, classes)
    match _type(estimator):
        case "regressor":
            return Form(FLOATS, _ONE + _MANY)
        case "outlier_detector":
            return Form(_SIGNED, _ONE)
        case "clusterer" | "density_estimator":
            return Form(_WIDE, _ONE)
    return Form(_ANY, _ONE + _MANY)


def _labels(estimator: Any, classes: list[np.ndarray]) -> Form:
    shapes: Shapes = _ONE
    if len(classes) > 1 or isinstance(estimator.classes_, list):
        shapes = ((len(classes),),)
    elif _is_multilabel(estimator):
        shapes = ((len(classes[0]),),)
    elif not type(last(estimator)).__module__.startswith("sklearn."):
        shapes = ((), (len(classes[0]),))  # XGBoost, for one, does not tell that it has several
    kinds = {each.dtype.kind for each in classes}
    if kinds <= {"U", "S"}:
        return Form(("BYTES",), shapes)
    if kinds == {"b"}:
        return Form(("BOOL", *_INTEGERS), shapes)
    if kinds <= {"i", "u"}:
        return Form(tuple(kind for kind in _INTEGERS if _holds(kind, classes)), shapes)
    if kinds <= set("biuf"):
        # A score is declared like this as well.
        return Form(FLOATS, shapes, only_named=True)
    return Form(_ANY, shapes)


def _holds(datatype: str, classes: list[np.ndarray]) -> bool:
    bounds = np.iinfo(NUMPY_OF[datatype])
    return all(bounds.min <= label <= bounds.max for each in classes for label in each)


def _predict_proba(estimator: Any) -> Form:
    classes = _classes(estimator)
    if classes is None:
        return Form(FLOATS, _MANY)
    if isinstance(estimator.classes_, list):
        refusal = (
            f"{_name(estimator)} gives several targets at once, and a table of probabilities for "
            f"each of them, which is no tensor; declare its labels (`method: predict`, shape "
            f"[-1, {len(classes)}]), or serve an estimator for each target"
        )
        return Form(FLOATS, _MANY, refusal=refusal)
    return Form(FLOATS, ((len(classes[0]),),))


def _decision_function(estimator: Any) -> Form:
    classes = _classes(estimator)
    if classes is None or isinstance(estimator.classes_, list):
        is_detector = _type(estimator) == "outlier_detector"
        return Form(FLOATS, _ONE if is_detector else _ONE + _MANY)
    count = len(classes[0])
    if count <= 2 and not _is_multilabel(estimator):
        return Form(FLOATS, _ONE)
    if getattr(last(estimator), "decision_function_shape", "ovr") == "ovo":
        return Form(FLOATS, ((count * (count - 1) // 2,),))
    return Form(FLOATS, ((count,),))


def _transform(estimator: Any) -> Form:
    try:
        width = len(estimator.get_feature_names_out())
    except Exception:  # noqa: BLE001 - anything may happen in somebody's own code
        width = -1
    return Form(FLOATS, ((width,),))


_FORMS: Final[dict[SklearnMethod, Callable[[Any], Form]]] = {
    "predict": _predict,
    "predict_proba": _predict_proba,
    "decision_function": _decision_function,
    "score_samples": lambda _estimator: Form(FLOATS, _ONE),
    "transform": _transform,
}


def _classes(estimator: Any) -> list[np.ndarray] | None:
    """Return the classes of each target; None for what is no classifier."""
    found = getattr(estimator, "classes_", None)
    if found is None:
        return None
    # By way of a list, since arrays of objects do not tell what they hold.
    return [np.array(np.asarray(each).tolist()) for each in _targets(found)]


def _targets(classes: Any) -> list[Any]:
    return classes if isinstance(classes, list) else [classes]


def _is_multilabel(estimator: Any) -> bool:
    inner = last(estimator)
    kind = getattr(getattr(inner, "_label_binarizer", None), "y_type_", "")
    return bool(getattr(inner, "multilabel_", False)) or str(kind).startswith("multilabel")


def _type(estimator: Any) -> str:
    return str(getattr(tags_of(estimator), "estimator_type", None) or "")


def _check_classes(where: str, spec: OutputSpec, classes: Any) -> None:
    # Numbers tell nothing of names, but names in another order would swap the classes.
    if not spec.classes or classes is None or not isinstance(classes[0], str):
        return
    names = [str(name) for name in classes]
    if names != spec.classes:
        raise ConfigError(
            f"{where}: the estimator's classes are {', '.join(names)}, model.yaml declares "
            f"{', '.join(spec.classes)}"
        )


def _name(estimator: Any) -> str:
    return type(last(estimator)).__name__


def _declared(spec: OutputSpec) -> str:
    return f"{spec.datatype} {spec.shape}"


def _listed(offered: dict[SklearnMethod, Form]) -> str:
    shown = [f"{name} ({form})" for name, form in offered.items() if not form.refusal]
    return ", ".join(shown) or "no method that can be served"
