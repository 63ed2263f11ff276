"""`models/<name>/model.yaml`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from pydantic import Field, field_validator, model_validator

from guards.guard import Stage
from serving.config.compute import Batching, Compile, Precision, Replicas
from serving.config.guards.listed import Guard, descriptor_of
from serving.config.monitoring import Explain, Fairness, Monitors
from serving.config.remote import Remote
from serving.config.section import Section
from serving.config.tensors import InputSpec, OutputSpec

Format = Literal[
    "safetensors", "torch_export", "torchscript", "onnx", "sklearn", "python", "remote"
]  # fmt: skip
NEEDS_FACTORY: Final = ("safetensors", "python")
COMPILED: Final = ("safetensors", "torch_export")
"""Formats whose graph torch can compile or capture."""
_NO_CLASS: Final = ("score_samples", "transform")
CLASS_OUTPUT: Final = "scores [-1, classes] or whole numbers [-1], as the first output"
"""What a classifier answers."""
TELLS: Final = ("torch_export", "onnx", "sklearn")
"""Formats whose artefact tells inputs and outputs, so that `model.yaml` need not."""


class ModelConfig(Section):
    """`models/<name>/model.yaml`."""

    format: Format = Field(description="What the version's folder holds.")
    factory: str | None = Field(
        None,
        description="`module:function` in a file beside the weights; builds the model "
        "(`safetensors`, `python`).",
    )
    trust_code: bool = Field(False, description="Needed by whatever runs the model's own code.")
    remote: Remote | None = None
    inputs: list[InputSpec] = Field(
        default_factory=list,
        min_length=1,
        description="One per input tensor; left out, they are read from the artefact "
        "(`torch_export`, `onnx`, `sklearn`).",
    )
    outputs: list[OutputSpec] = Field(
        default_factory=list, min_length=1, description="One per output tensor; as for `inputs`."
    )
    example: str | None = Field(
        None,
        description="File with an OIP request, used for warm-up and readiness: JSON, JSON with "
        "binary tensors behind it as in a body over HTTP, or the bytes of a gRPC "
        "ModelInferRequest.",
    )
    versions: Literal["latest", "all"] | list[Annotated[int, Field(ge=1)]] = Field(
        "latest", description="Which versions are served: `latest`, `all`, or a list of numbers."
    )
    required: bool = Field(True, description="Readiness waits for this model.")
    precision: Precision = Field(
        "fp32",
        description="What to compute in; `fp32` leaves the model as it was made, the others "
        "convert it when it is loaded (`safetensors`; `int8-dynamic`: Linear and LSTM, CPU only).",
    )
    precision_tolerance: float | None = Field(
        None,
        gt=0,
        description="Largest deviation from the unconverted, uncompiled model that is served, as "
        "a share of an output's largest value; none: 0.02, or 0.0001 with `precision: fp32`.",
    )
    compile: Compile = Field(
        "none",
        description="`default` and `max-autotune` compile the graph for each bucket with "
        "torch.compile and, on a GPU, capture it as a CUDA graph; `cuda-graphs` only captures.",
    )
    replicas: Replicas = Field(default_factory=Replicas)
    batching: Batching = Field(default_factory=Batching)
    guards: list[Guard] = Field(
        default_factory=list, description="Judges of single requests, in this order."
    )
    expose_flags: bool = Field(False, description="Tell clients which guards flagged a request.")
    monitors: Monitors = Field(default_factory=Monitors)
    fairness: Fairness | None = None
    explain: Explain | None = Field(default_factory=Explain)

    @field_validator("format", mode="before")
    @classmethod
    def _no_pickle(cls, value: object) -> object:
        if value in ("pickle", "joblib"):
            raise ValueError(
                f"{value} is not served, because reading one runs whatever code it holds; "
                f"`vigil convert FILE` makes format sklearn or safetensors of it"
            )
        return value

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        for key in ("inputs", "outputs"):
            if self.format not in TELLS and not getattr(self, key):
                raise ValueError(_missing(self.format, key))
        _check_code(self.format, self.factory, self.trust_code)
        _check_methods(self.format, self.outputs)
        _check_speed(self)
        if isinstance(self.versions, list) and not self.versions:
            raise ValueError("versions: name at least one, or write `latest` or `all`")
        if (self.format == "remote") != (self.remote is not None):
            raise ValueError("format remote needs the section `remote`, and no other format has it")
        _check_guards(self)
        if self.inputs and all(spec.sensitive for spec in self.inputs):
            raise ValueError("inputs: at least one must not be sensitive")
        _check_rows(self)
        if self.fairness and self.outputs:
            classes = self.outputs[0].classes or []
            if self.fairness.favorable not in classes:
                raise ValueError(
                    f"fairness.favorable: '{self.fairness.favorable}' is not among the classes "
                    f"of output '{self.outputs[0].name}'"
                )
        performance = self.monitors.performance
        if performance and performance.min is not None and self.outputs and not self.class_output:
            raise ValueError(
                f"monitors.performance.min: output '{self.outputs[0].name}' names no class "
                f"({CLASS_OUTPUT}), so there is no accuracy; take `min` out"
            )
        return self

    @property
    def row_axis(self) -> bool:
        """Whether the first axis of a request's tensors is the row."""
        return self.batching.row_axis if self.remote is None else self.remote.row_axis

    @property
    def joined(self) -> bool:
        """Whether rows of several requests may be computed together, and a request be cut."""
        join = self.batching.join if self.remote is None else self.remote.join
        return join and self.row_axis

    @property
    def coupled(self) -> bool:
        """Whether what a row gives depends on the other rows of its request."""
        return self.batching.row_axis and not self.batching.join

    @property
    def explained(self) -> bool:
        """Whether rows can be explained: a method computes many variants of one together."""
        rowless = self.row_axis and any(spec.rowless for spec in self.inputs)
        return self.explain is not None and not self.coupled and not rowless

    def own_shape(self, spec: InputSpec | OutputSpec) -> list[int]:
        """Return the shape of a tensor as requests, answers and the model itself have it."""
        without = not self.row_axis or (isinstance(spec, InputSpec) and spec.rowless)
        return spec.shape[1:] if without else spec.shape

    @property
    def class_output(self) -> OutputSpec | None:
        """The output that names a class per row; None for models that are no classifiers."""
        output = self.outputs[0]
        if output.method in _NO_CLASS or (output.method == "predict" and len(output.shape) == 2):
            return None
        if len(output.shape) == 1:
            return output if output.datatype.startswith(("INT", "UINT", "BOOL")) else None
        scores = len(output.shape) == 2 and (output.classes or output.shape[1] >= 2)
        numeric = output.datatype not in ("BYTES", "BOOL", "BF16")
        return output if scores and numeric else None


def _missing(kind: Format, key: str) -> str:
    if kind == "remote":
        return (
            f"{key}: is missing; `vigil watch --upstream HOST:PORT --write FOLDER` writes a "
            f"model.yaml from what the other server tells"
        )
    return (
        f"{key}: is missing, and what format {kind} holds does not tell; write such as "
        f"`{key}: [{{name: {'x' if key == 'inputs' else 'y'}, datatype: FP32, shape: [-1, 4]}}]`"
    )


def _check_code(kind: Format, factory: str | None, trust_code: bool) -> None:
    if kind in NEEDS_FACTORY and not (factory and trust_code):
        raise ValueError(
            f"format {kind} needs `factory` and, because that is code, `trust_code: true`"
        )
    if kind not in NEEDS_FACTORY and factory:
        raise ValueError(f"format {kind} has no `factory`; only {', '.join(NEEDS_FACTORY)} do")
    if kind == "torchscript" and not trust_code:
        raise ValueError("format torchscript holds code, so it needs `trust_code: true`")


def _check_rows(model: ModelConfig) -> None:
    batching = model.batching
    if model.remote is not None:
        if not (batching.join and batching.row_axis):
            raise ValueError(
                "batching: of format remote, `join` and `row_axis` stand in the section `remote`"
            )
        if any(spec.rowless for spec in model.inputs):
            raise ValueError(
                "inputs: format remote has none without rows; set `remote: {row_axis: false}`"
            )
    rowless = [spec.name for spec in model.inputs if spec.rowless]
    if model.format == "sklearn" and (rowless or not batching.row_axis):
        mend = f"let the shape of '{rowless[0]}' begin with -1" if rowless else "take row_axis out"
        raise ValueError(f"format sklearn takes rows in every input; {mend}")
    seen = [spec for spec in model.inputs if not spec.sensitive]
    if batching.row_axis and seen and all(spec.rowless for spec in seen):
        raise ValueError(
            f"inputs: no shape begins with -1, the row axis; write {[-1, *seen[0].shape[2:]]} for "
            f"input '{seen[0].name}' if its first axis is the row, or set "
            f"`batching: {{row_axis: false}}` if the model has no rows"
        )
    if model.compile != "none" and not model.joined:
        raise ValueError(
            "compile: cuts and pads the rows of a request, which `batching.join` or "
            "`batching.row_axis` forbids; set `compile: none`"
        )


def _check_guards(model: ModelConfig) -> None:
    seen: set[str] = set()
    for guard in model.guards:
        if guard.name in seen:
            raise ValueError(f"guards: {guard.name} stands there twice; take one of them out")
        seen.add(guard.name)
        kind = descriptor_of(guard)
        if model.remote and kind.in_replica:
            lacks = "features" if kind.stage is Stage.FEATURES else "the model beside it"
            raise ValueError(f"guards: {guard.name} needs {lacks}, which format remote has not")
        if model.coupled and kind.stage.needs_model:
            raise ValueError(
                f"guards: {guard.name} judges each row by itself, and `batching: {{join: false}}` "
                "says that the rows of a request belong together"
            )


def _check_methods(kind: Format, outputs: list[OutputSpec]) -> None:
    named = [spec.name for spec in outputs if spec.method is not None]
    if named and kind != "sklearn":
        raise ValueError(
            f"outputs: '{named[0]}' has `method`, which only format sklearn knows; take it out, "
            f"because format {kind} gives outputs by their names"
        )


def _check_speed(model: ModelConfig) -> None:
    if model.precision != "fp32" and model.format != "safetensors":
        raise ValueError(
            f"format {model.format} computes in the datatypes of its graph, so `precision: "
            f"{model.precision}` is not for it; use format safetensors, or save the graph converted"
        )
    if model.precision == "int8-dynamic" and model.replicas.device == "cuda":
        raise ValueError("precision int8-dynamic computes on a CPU only; set `device: cpu`")
    if model.compile == "none":
        if model.batching.buckets:
            raise ValueError("batching.buckets: has no use without `compile`")
        return
    if model.format not in COMPILED:
        raise ValueError(
            f"format {model.format} cannot be compiled; only {', '.join(COMPILED)} can"
        )
    if model.compile == "cuda-graphs" and model.replicas.device == "cpu":
        raise ValueError("compile: cuda-graphs needs a GPU; `default` compiles for a CPU")
    for spec in model.inputs:
        if -1 in spec.shape[1:]:
            raise ValueError(
                f"compile: input '{spec.name}' has a free axis beside the rows; give its size, or "
                f"set `compile: none`"
            )


def encode_config(config: ModelConfig) -> bytes:
    """Return a configuration as the JSON that `ServedModel.config` carries."""
    return msgspec.json.encode(config.model_dump(mode="json", exclude_defaults=False))
