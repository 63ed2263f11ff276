"""The inputs and outputs of a model, as `model.yaml` declares them."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field, model_validator

from serving.config.section import Section

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BF16", "BYTES",
]  # fmt: skip
SklearnMethod = Literal[
    "predict", "predict_proba", "decision_function", "score_samples", "transform"
]  # fmt: skip
_WITH_MISSING: Final = frozenset({"FP16", "FP32", "FP64", "BF16", "BYTES"})
"""Datatypes that have a value for what is missing: NaN, or the empty text."""
TensorFormat = Literal["FORMAT_NONE", "FORMAT_NHWC", "FORMAT_NCHW"]


class Feature(Section):
    """One column of an input: its name and what its values may be."""

    name: str = Field(description="Name of the column, as people know it.")
    min: float | None = Field(None, description="Smallest allowed value; checked by `schema`.")
    max: float | None = Field(None, description="Largest allowed value; checked by `schema`.")
    categories: list[str] | None = Field(
        None, description="Allowed values of a categorical column (BYTES inputs)."
    )
    missing: Literal["refuse", "allow"] = Field(
        "refuse",
        description="Whether `schema` lets a missing value pass: NaN in a column of floating-point "
        "numbers, the empty text in one with `categories`. Infinity never passes; without "
        "`categories` the empty text always does.",
    )


class InputSpec(Section):
    """One input tensor."""

    name: str = Field(description="Name of the tensor in requests.")
    datatype: Datatype = Field(description="Datatype of its elements.")
    shape: list[int] = Field(
        description="-1 marks the row axis, which comes first. A shape that does not begin so, "
        "such as [] or [3], is of an input without rows."
    )
    rowless: bool = Field(
        False,
        description="One value for all rows of a request, a threshold for example. The leading -1 "
        "of the shape in this file is on no wire then. Requests that differ in it share no batch.",
    )
    format: TensorFormat = Field(
        "FORMAT_NONE",
        description="Order of the axes of a [-1, …, …, …] image, as clients are told it: channels "
        "first (`FORMAT_NCHW`) or last.",
    )
    features: list[Feature] | None = Field(
        None, description="One entry per column of a [-1, n] input."
    )
    min: float | None = Field(None, description="Smallest allowed value of every element.")
    max: float | None = Field(None, description="Largest allowed value of every element.")
    sensitive: bool = Field(
        False, description="A sensitive attribute: counted by fairness, never seen by the model."
    )

    @model_validator(mode="before")
    @classmethod
    def _without_rows(cls, given: Any) -> Any:
        shape = given.get("shape") if isinstance(given, dict) else None
        if isinstance(shape, list) and shape[:1] != [-1] and "rowless" not in given:
            return {**given, "shape": [-1, *shape], "rowless": True}
        return given

    @model_validator(mode="after")
    def _check(self) -> InputSpec:
        _require_rows("input", self)
        if self.rowless and (self.sensitive or self.features):
            raise ValueError(
                f"input '{self.name}': has no rows, so it can have neither `features` nor "
                f"`sensitive`; let its shape begin with -1 if it has one value per row"
            )
        if self.format != "FORMAT_NONE" and len(self.shape) != 4:
            raise ValueError(
                f"input '{self.name}': format {self.format} needs a shape of four axes, such as "
                "[-1, 3, 224, 224]"
            )
        if self.features is not None and (
            len(self.shape) != 2 or self.shape[1] != len(self.features)
        ):
            raise ValueError(
                f"input '{self.name}': features needs shape [-1, {len(self.features)}]"
            )
        for each in self.features or ():
            if each.missing == "allow" and self.datatype not in _WITH_MISSING:
                raise ValueError(
                    f"input '{self.name}': feature '{each.name}' has `missing: allow`, but "
                    f"{self.datatype} has no missing values; take it out, or let the input be of "
                    f"a floating-point datatype such as FP64"
                )
        return self


class OutputSpec(Section):
    """One output tensor."""

    name: str = Field(description="Name of the tensor in answers.")
    datatype: Datatype = Field(description="Datatype of its elements.")
    shape: list[int] = Field(description="-1 marks the row axis, which comes first.")
    classes: list[str] | None = Field(
        None, description="Class names, in the order of the last axis."
    )
    method: SklearnMethod | None = Field(
        None,
        description="The estimator's method that gives it (format `sklearn`); none: the only one "
        "that can.",
    )

    @model_validator(mode="after")
    def _check(self) -> OutputSpec:
        _require_rows("output", self)
        return self


def _require_rows(side: str, spec: InputSpec | OutputSpec) -> None:
    if spec.shape[:1] != [-1]:
        raise ValueError(
            f"{side} '{spec.name}': shape {spec.shape} must begin with -1, the row axis; of a "
            f"model without rows (`batching: {{row_axis: false}}`) too, though no wire has it then"
        )
    if min(spec.shape) < -1:
        raise ValueError(
            f"{side} '{spec.name}': shape {spec.shape} has a size below -1; -1 is a free axis"
        )
