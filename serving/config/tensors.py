"""The inputs and outputs of a model, as `model.yaml` declares them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from serving.config.section import Section

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BF16", "BYTES",
]  # fmt: skip
SklearnMethod = Literal[
    "predict", "predict_proba", "decision_function", "score_samples", "transform"
]  # fmt: skip
TensorFormat = Literal["FORMAT_NONE", "FORMAT_NHWC", "FORMAT_NCHW"]


class Feature(Section):
    """One column of an input: its name and what its values may be."""

    name: str = Field(description="Name of the column, as people know it.")
    min: float | None = Field(None, description="Smallest allowed value; checked by `schema`.")
    max: float | None = Field(None, description="Largest allowed value; checked by `schema`.")
    categories: list[str] | None = Field(
        None, description="Allowed values of a categorical column (BYTES inputs)."
    )


class InputSpec(Section):
    """One input tensor."""

    name: str = Field(description="Name of the tensor in requests.")
    datatype: Datatype = Field(description="Datatype of its elements.")
    shape: list[int] = Field(description="-1 marks the row axis, which comes first.")
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

    @model_validator(mode="after")
    def _check(self) -> InputSpec:
        if not self.shape or self.shape[0] != -1:
            raise ValueError(f"input '{self.name}': shape must begin with -1, the row axis")
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
