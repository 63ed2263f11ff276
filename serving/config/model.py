"""`models/<name>/model.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator

from guards.guard import Stage
from serving.config.compute import Batching, Compile, Precision, Replicas
from serving.config.formats.descriptor import FormatDescriptor
from serving.config.formats.listed import format_named, names_of
from serving.config.guards.listed import Guard, descriptor_of
from serving.config.log import ModelLog
from serving.config.monitoring import Explain, Fairness, Monitors
from serving.config.objectives import Slo
from serving.config.one_of import OneOf
from serving.config.performance_thresholds import check_thresholds, scored
from serving.config.remote import Remote
from serving.config.reports import Reports
from serving.config.section import Section
from serving.config.slices import slice_conditions
from serving.config.tensor_specs import InputSpec, OutputSpec
from serving.expressions.tokens import ExpressionError

_NO_CLASS: Final = ("score_samples", "transform")
CLASS_OUTPUT: Final = "scores [-1, classes] or whole numbers [-1], as the first output"
"""What a classifier answers."""
MOST_NUMBERS: Final = 64
"""Numbers or ranked items of a row that labels can be about: each is kept with its prediction."""
LABELLED_OUTPUTS: Final = (
    f"classes ({CLASS_OUTPUT}), of one number a row, or, with `monitors.performance.metric` mae, "
    f"rmse, mrr or ndcg, of 2 to {MOST_NUMBERS}"
)
"""What labels can be about."""
LabelKind = Literal["classes", "numbers", "ranking"]
_NUMBERS: Final = ("mae", "rmse")
_RANKING: Final = ("mrr", "ndcg")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


class ModelConfig(Section):
    """`models/<name>/model.yaml`."""

    format: Annotated[str, OneOf(names_of)] = Field(description="What the version's folder holds.")
    factory: str | None = Field(
        None,
        description="`module:function` in a file beside the weights; builds the model "
        f"({_quoted(names_of(lambda each: each.needs_factory))}).",
    )
    trust_code: bool = Field(False, description="Needed by whatever runs the model's own code.")
    remote: Remote | None = None
    inputs: list[InputSpec] = Field(
        default_factory=list,
        min_length=1,
        description="One per input tensor; left out, they are read from the artefact "
        f"({_quoted(names_of(lambda each: each.signature))}).",
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
        f"convert it when it is loaded ({_quoted(names_of(lambda each: each.converts_precision))}; "
        "`int8-dynamic`: Linear and LSTM, CPU only).",
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
    reports: Reports | None = None
    explain: Explain | None = Field(default_factory=Explain)
    slo: Slo | None = None
    log: ModelLog | None = Field(
        None, description="What of its predictions is logged; none: as `vigil.yaml` says."
    )

    @field_validator("format", mode="before")
    @classmethod
    def _no_pickle(cls, value: object) -> object:
        if value in ("pickle", "joblib"):
            raise ValueError(
                f"{value} is not served, because reading one runs whatever code it holds; "
                f"`vigil convert FILE` makes format "
                f"{' or '.join(names_of(lambda each: each.conversion))} of it"
            )
        return value

    @model_validator(mode="after")
    def _check_reports(self) -> ModelConfig:
        if self.reports and "fairness" in self.reports.kinds and self.fairness is None:
            raise ValueError(
                "reports.kinds names fairness, which needs the section `fairness` with the "
                "sensitive attributes"
            )
        return self

    @model_validator(mode="after")
    def _check_slices(self) -> ModelConfig:
        slices = self.monitors.slices
        if len(set(slices)) < len(slices):
            raise ValueError("monitors.slices names a condition twice; leave one out")
        if not self.inputs:  # the artefact tells them, and then this is checked again
            return self
        try:
            slice_conditions(slices, self.inputs)
        except ExpressionError as error:
            raise ValueError(f"monitors.slices: {error}") from None
        return self

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        kind = self.descriptor
        for key in ("inputs", "outputs"):
            if not kind.signature and not getattr(self, key):
                raise ValueError(_missing(kind, key))
        _check_code(kind, self.factory, self.trust_code)
        _check_methods(kind, self.outputs)
        _check_speed(self)
        if isinstance(self.versions, list) and not self.versions:
            raise ValueError("versions: name at least one, or write `latest` or `all`")
        _check_remote(self)
        _check_guards(self)
        if self.inputs and all(spec.sensitive for spec in self.inputs):
            raise ValueError("inputs: at least one must not be sensitive")
        _check_rows(self)
        if self.fairness and self.outputs:
            _check_fairness(self.fairness, self.outputs[0], self.label_kind)
        if self.outputs:
            _check_performance(self)
        return self

    @property
    def descriptor(self) -> FormatDescriptor:
        """What is known of the model's format."""
        return format_named(self.format)

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
    def passes_credentials(self) -> bool:
        """Whether the server that computes it gets the credentials of whoever asks."""
        given = None if self.remote is None else self.remote.credentials
        return given is not None and given.passthrough

    @property
    def replicated(self) -> bool:
        """Whether replicas compute for it; none do where only copies of others' requests come."""
        return self.remote is None or self.remote.mirror != "observe"

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
        if self._metric in (*_NUMBERS, *_RANKING):
            return None
        if output.method in _NO_CLASS or (output.method == "predict" and len(output.shape) == 2):
            return None
        if len(output.shape) == 1:
            return output if output.datatype.startswith(("INT", "UINT", "BOOL")) else None
        scores = len(output.shape) == 2 and (output.classes or output.shape[1] >= 2)
        numeric = output.datatype not in ("BYTES", "BOOL", "BF16")
        return output if scores and numeric else None

    @property
    def label_kind(self) -> LabelKind | None:
        """What labels of the model say about a row of its first output; None: it takes none."""
        output = self.outputs[0]
        if self.class_output is not None:
            return "classes"
        if output.datatype == "BYTES" or len(output.shape) > 2 or self._metric == "accuracy":
            return None
        width = (output.shape[1:] or [1])[0]
        if self._metric in _RANKING:
            return "ranking" if 2 <= width <= MOST_NUMBERS else None
        several = self._metric in _NUMBERS or output.method == "predict"
        guessed = output.classes is None and output.method not in _NO_CLASS
        if 1 <= width <= (MOST_NUMBERS if several else 1):
            return "numbers" if guessed or self._metric in _NUMBERS else None
        return None

    @property
    def _metric(self) -> str:
        performance = self.monitors.performance
        return "auto" if performance is None else performance.metric


def _check_fairness(fairness: Fairness, output: OutputSpec, kind: LabelKind | None) -> None:
    favorable, tolerance = fairness.favorable, fairness.tolerance
    single = kind == "numbers" and output.shape[1:] in ([], [1])
    if favorable is None and not single:
        raise ValueError(
            f"fairness.favorable: name the class of output '{output.name}' whose selection is "
            "favourable; only a model of one number a row needs none"
        )
    if favorable is not None and favorable not in (output.classes or []):
        raise ValueError(
            f"fairness.favorable: '{favorable}' is not among the classes of output '{output.name}'"
        )
    wrong = tolerance.of_classes if favorable is None else tolerance.of_numbers
    if wrong:
        what, other = ("numbers", "classes") if favorable is None else ("classes", "numbers")
        raise ValueError(
            f"fairness.tolerance.{wrong[0]}: is of models of {other}, and output '{output.name}' "
            f"gives {what}; take it out"
        )
    if tolerance.calibration_difference is not None and not scored(output):
        raise ValueError(
            f"fairness.tolerance.calibration_difference: output '{output.name}' gives classes and "
            "no probabilities of them; take it out"
        )


def _check_performance(model: ModelConfig) -> None:
    performance, output = model.monitors.performance, model.outputs[0]
    if performance is None:
        return
    metric, kind = performance.metric, model.label_kind
    if metric in (*_NUMBERS, *_RANKING):
        least = 1 if metric in _NUMBERS else 2
        if kind is None:
            raise ValueError(
                f"monitors.performance.metric: {metric} needs {least} to {MOST_NUMBERS} numbers a "
                f"row, and output '{output.name}' is {output.datatype} {output.shape}; take "
                f"`metric` out"
            )
        if model.fairness and model.fairness.favorable is not None:
            raise ValueError(
                f"monitors.performance.metric: {metric} is not of classes, which `fairness` "
                f"counts; take one of them out"
            )
    if performance.min is not None and kind not in ("classes", "ranking"):
        mend = "write `max`, the largest error" if kind == "numbers" else "take `min` out"
        raise ValueError(
            f"monitors.performance.min: output '{output.name}' names no class "
            f"({CLASS_OUTPUT}), so there is no accuracy; {mend}"
        )
    if performance.max is not None and kind != "numbers":
        raise ValueError(
            f"monitors.performance.max: is the largest error of numbers (metric mae or rmse), and "
            f"output '{output.name}' is judged by another metric; write `min`, or take `max` out"
        )
    check_thresholds(performance, kind, output)


def _missing(kind: FormatDescriptor, key: str) -> str:
    if kind.elsewhere:
        return (
            f"{key}: is missing; `vigil watch --upstream HOST:PORT --write FOLDER` writes a "
            f"model.yaml from what the other server tells"
        )
    return (
        f"{key}: is missing, and what format {kind.name} holds does not tell; write such as "
        f"`{key}: [{{name: {'x' if key == 'inputs' else 'y'}, datatype: FP32, shape: [-1, 4]}}]`"
    )


def _check_code(kind: FormatDescriptor, factory: str | None, trust_code: bool) -> None:
    if kind.needs_factory and not (factory and trust_code):
        raise ValueError(
            f"format {kind.name} needs `factory` and, because that is code, `trust_code: true`"
        )
    if factory and not kind.needs_factory:
        others = ", ".join(names_of(lambda each: each.needs_factory))
        raise ValueError(f"format {kind.name} has no `factory`; only {others} do")
    if kind.holds_code and not trust_code:
        raise ValueError(f"format {kind.name} holds code, so it needs `trust_code: true`")


def _check_remote(model: ModelConfig) -> None:
    if model.descriptor.elsewhere != (model.remote is not None):
        them = " or ".join(names_of(lambda each: each.elsewhere))
        raise ValueError(f"format {them} needs the section `remote`, and no other format has it")


def _check_rows(model: ModelConfig) -> None:
    batching = model.batching
    if model.remote is not None:
        if not (batching.join and batching.row_axis):
            raise ValueError(
                f"batching: of format {model.format}, `join` and `row_axis` stand in the section "
                f"`remote`"
            )
        if any(spec.rowless for spec in model.inputs):
            raise ValueError(
                f"inputs: format {model.format} has none without rows; set "
                f"`remote: {{row_axis: false}}`"
            )
    rowless = [spec.name for spec in model.inputs if spec.rowless]
    if model.descriptor.rows_only and (rowless or not batching.row_axis):
        mend = f"let the shape of '{rowless[0]}' begin with -1" if rowless else "take row_axis out"
        raise ValueError(f"format {model.format} takes rows in every input; {mend}")
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
            raise ValueError(
                f"guards: {guard.name} needs {lacks}, which format {model.format} has not"
            )
        if model.coupled and kind.stage.needs_model:
            raise ValueError(
                f"guards: {guard.name} judges each row by itself, and `batching: {{join: false}}` "
                "says that the rows of a request belong together"
            )
        if kind.check is None or not model.inputs:  # which the artefact tells later
            continue
        try:
            kind.check(guard, model.inputs)
        except ValueError as error:
            raise ValueError(f"guards: {guard.name}: {error}") from None


def _check_methods(kind: FormatDescriptor, outputs: list[OutputSpec]) -> None:
    named = [spec.name for spec in outputs if spec.method is not None]
    if named and not kind.has_methods:
        them = " or ".join(names_of(lambda each: each.has_methods))
        raise ValueError(
            f"outputs: '{named[0]}' has `method`, which only format {them} knows; take it out, "
            f"because format {kind.name} gives outputs by their names"
        )


def _check_speed(model: ModelConfig) -> None:
    if model.precision != "fp32" and not model.descriptor.converts_precision:
        them = " or ".join(names_of(lambda each: each.converts_precision))
        raise ValueError(
            f"format {model.format} computes in the datatypes of its graph, so `precision: "
            f"{model.precision}` is not for it; use format {them}, or save the graph converted"
        )
    if model.precision == "int8-dynamic" and model.replicas.device == "cuda":
        raise ValueError("precision int8-dynamic computes on a CPU only; set `device: cpu`")
    if model.compile == "none":
        if model.batching.buckets:
            raise ValueError("batching.buckets: has no use without `compile`")
        return
    if not model.descriptor.compiles:
        them = ", ".join(names_of(lambda each: each.compiles))
        raise ValueError(f"format {model.format} cannot be compiled; only {them} can")
    if model.compile == "cuda-graphs" and model.replicas.device == "cpu":
        raise ValueError("compile: cuda-graphs needs a GPU; `default` compiles for a CPU")
    for spec in model.inputs:
        if -1 in spec.shape[1:]:
            raise ValueError(
                f"compile: input '{spec.name}' has a free axis beside the rows; give its size, or "
                f"set `compile: none`"
            )
