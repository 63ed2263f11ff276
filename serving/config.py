"""Configuration files as pydantic models: the single source of truth for what may stand in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from serving.config_wording import first_problem
from serving.errors import VigilError

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BF16", "BYTES",
]  # fmt: skip

Format = Literal[
    "safetensors", "torch_export", "torchscript", "onnx", "sklearn", "python", "remote"
]  # fmt: skip
NEEDS_FACTORY: Final = ("safetensors", "python")

Precision = Literal["fp32", "bf16", "fp16", "int8-dynamic"]
Compile = Literal["none", "cuda-graphs", "default", "max-autotune"]
COMPILED: Final = ("safetensors", "torch_export")
"""Formats whose graph torch can compile or capture."""


class ConfigError(VigilError):
    """A configuration file is missing, unreadable or wrong; the message names file and key."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Feature(_Section):
    """One column of an input: its name and what its values may be."""

    name: str = Field(description="Name of the column, as people know it.")
    min: float | None = Field(None, description="Smallest allowed value; checked by `schema`.")
    max: float | None = Field(None, description="Largest allowed value; checked by `schema`.")
    categories: list[str] | None = Field(
        None, description="Allowed values of a categorical column (BYTES inputs)."
    )


class InputSpec(_Section):
    """One input tensor."""

    name: str = Field(description="Name of the tensor in requests.")
    datatype: Datatype = Field(description="Datatype of its elements.")
    shape: list[int] = Field(description="-1 marks the row axis, which comes first.")
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
        if self.features is not None and (
            len(self.shape) != 2 or self.shape[1] != len(self.features)
        ):
            raise ValueError(
                f"input '{self.name}': features needs shape [-1, {len(self.features)}]"
            )
        return self


class OutputSpec(_Section):
    """One output tensor."""

    name: str = Field(description="Name of the tensor in answers.")
    datatype: Datatype = Field(description="Datatype of its elements.")
    shape: list[int] = Field(description="-1 marks the row axis, which comes first.")
    classes: list[str] | None = Field(
        None, description="Class names, in the order of the last axis."
    )


class Replicas(_Section):
    """How many replicas of each version, and on what."""

    min: int = Field(1, ge=1, description="Replicas to start.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="`auto` takes a GPU when torch sees one."
    )
    gpus: float = Field(0, ge=0, description="GPUs each replica reserves (ray engine).")
    cores: int = Field(1, ge=1, description="Threads a replica may compute with.")
    max_inflight_batches: int = Field(
        2, ge=1, le=16, description="Batches a replica holds: one computing, the rest ready."
    )
    hang_timeout_s: float = Field(
        30, gt=0, description="A batch that computes for longer marks the replica as hung."
    )


class Batching(_Section):
    """Bounds and order of the queue. Without any, a free slot takes all that waits."""

    latency_slo_ms: float | None = Field(
        None, gt=0, description="Goal from arrival to answer; bounds the rows of a batch by it."
    )
    max_batch_size: int | None = Field(
        None, ge=1, description="Rows per batch; none: 1024. Larger requests are cut and rejoined."
    )
    max_queue_delay_us: int = Field(
        0, ge=0, le=10_000_000, description="A batch that could grow waits so long for company."
    )
    max_queue_rows: int = Field(4096, ge=1, description="Rows that may wait; more get 503.")
    buckets: list[int] | None = Field(
        None,
        min_length=1,
        description="With `compile`: the batch sizes that are compiled; others are padded up. "
        "None: powers of two up to `max_batch_size`, at most 64; larger batches are cut.",
    )
    max_queue_mib: int = Field(
        256, ge=1, description="Bytes of inputs that may wait, in MiB; more get 503."
    )
    priority_levels: int = Field(
        0, ge=0, le=100, description="Levels of the parameter `priority`; 1 leaves first. 0: none."
    )
    default_priority_level: int | None = Field(
        None, ge=1, description="Level of requests that name none; none: the lowest."
    )
    fair_share: Literal["client", "none"] = Field(
        "client", description="`client`: addresses take turns, row by row; `none`: by arrival."
    )
    busy_poll_us: int = Field(
        0,
        ge=0,
        le=10_000,
        description="After each batch gateways and replicas stay awake so long for the next event; "
        "lowers the latency of single requests for processor time.",
    )

    @field_validator("buckets")
    @classmethod
    def _increasing(cls, value: list[int] | None) -> list[int] | None:
        if value and (min(value) < 1 or sorted(set(value)) != value):
            raise ValueError("buckets: must be positive and increasing, such as [1, 4, 16]")
        return value

    @model_validator(mode="after")
    def _check(self) -> Batching:
        if (self.default_priority_level or 0) > self.priority_levels:
            raise ValueError("default_priority_level must be one of the priority_levels")
        return self


Action = Literal["flag", "shadow", "reject"]
_ACTION = "What happens to a row it dislikes: marked, only counted, or refused with 422."


class SchemaGuard(_Section):
    """Range, finiteness and category checks in the gateway."""

    name: Literal["schema"] = Field(description="Chooses this guard.")
    action: Action = Field("flag", description=_ACTION)


class MahalanobisGuard(_Section):
    """Distance of penultimate features from the training classes, in the replica."""

    name: Literal["mahalanobis"] = Field(description="Chooses this guard.")
    action: Action = Field("flag", description=_ACTION)
    false_positive_rate: float = Field(
        0.05, gt=0, lt=1, description="Share of normal rows that it may take for foreign."
    )
    on_error: Literal["open", "closed"] = Field(
        "open", description="`open` lets rows pass when the guard itself fails."
    )


Guard = Annotated[SchemaGuard | MahalanobisGuard, Field(discriminator="name")]


class DriftMonitor(_Section):
    """PSI and exact binned Kolmogorov-Smirnov per feature over tumbling windows."""

    reference: Literal["profile", "live"] = Field(
        "profile",
        description="What windows are compared with: the version's profile, or the first rows "
        "that it answers.",
    )
    reference_rows: int = Field(
        1000, ge=100, le=100_000, description="Rows of a `live` reference; more see smaller drifts."
    )
    window: int = Field(1000, ge=50, description="Rows per window.")
    false_alarm_rate: float = Field(
        0.001, gt=0, lt=1, description="Probability of a false alarm per model and window."
    )
    min_psi: float = Field(
        0.05, ge=0, description="An alarm needs an effect of at least this PSI as well."
    )


class Monitors(_Section):
    """Which windowed judges run for the model."""

    drift: DriftMonitor | None = Field(default_factory=DriftMonitor)


class Tolerance(_Section):
    """The largest disparity that is acceptable."""

    demographic_parity_difference: float = Field(
        0.1, ge=0, le=1, description="Between the groups' shares of favourable outcomes."
    )


class Fairness(_Section):
    """Sensitive attributes and what counts as a favourable outcome."""

    sensitive: list[str] = Field(min_length=1, description="Names of sensitive attributes.")
    favorable: str = Field(description="The class whose selection is favourable.")
    tolerance: Tolerance = Field(default_factory=Tolerance)
    window: int = Field(1000, ge=100, description="Rows per window.")


class Explain(_Section):
    """Explanations."""

    method: Literal["auto", "integrated_gradients", "kernel_shap"] = Field(
        "auto",
        description="`auto`: `integrated_gradients` if the model is differentiable, else "
        "`kernel_shap`, which any model allows.",
    )
    n_steps: int = Field(
        32, ge=1, le=1024, description="Steps of `integrated_gradients` to begin with."
    )
    n_samples: int = Field(
        2048, ge=2, le=65536, description="Most evaluations of the model per row in `kernel_shap`."
    )
    max_seconds: float = Field(
        60,
        gt=0,
        description="Time for an explanation, waiting for others included; then the request is "
        "answered 504. A request may ask for less (`timeout`, gRPC's deadline).",
    )
    max_completeness_error: float = Field(
        0.05, gt=0, description="Relative error above which no attribution is returned."
    )


class RemoteCredentials(_Section):
    """A secret that the other server wants; it is in a file or in the environment, never here."""

    env: str | None = Field(
        None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Environment variable that holds it."
    )
    file: str | None = Field(
        None,
        min_length=1,
        description="File that holds it, read again when it changes; relative to this one.",
    )
    header: str = Field(
        "authorization",
        pattern=r"^[a-z0-9][a-z0-9_.-]*$",
        description="Header (gRPC: metadata) that carries it, in lower case.",
    )
    scheme: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]*$",
        description="Word before it; none: `Bearer` in `authorization`, else nothing.",
    )
    unencrypted: bool = Field(
        False, description="Send it without TLS beyond loopback, where everybody between can read."
    )

    @model_validator(mode="after")
    def _check(self) -> RemoteCredentials:
        if (self.env is None) == (self.file is None):
            raise ValueError("give either `env` or `file`, which says where the secret is")
        if self.header in _NO_CREDENTIALS or self.header.startswith(("grpc-", "inference-")):
            raise ValueError(f"header: '{self.header}' belongs to the protocol; use another")
        if self.header.endswith("-bin"):
            raise ValueError("header: gRPC sends names that end in -bin as bytes; use another")
        return self


_NO_CREDENTIALS: Final = frozenset(
    ["host", "content-length", "content-type", "transfer-encoding", "connection", "te", "expect"]
)


class RemoteTls(_Section):
    """Certificates, for `grpcs://` and `https://`; paths are relative to this file."""

    ca_file: str | None = Field(
        None, description="PEM of who signed the server's certificate; none: the usual authorities."
    )
    cert_file: str | None = Field(
        None, description="PEM of a certificate of our own, if the server asks for one."
    )
    key_file: str | None = Field(None, description="PEM of its key.")

    @model_validator(mode="after")
    def _check(self) -> RemoteTls:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; give both")
        return self


class Remote(_Section):
    """A model that another server of the Open Inference Protocol runs (format `remote`)."""

    url: str = Field(
        pattern=r"^(grpcs?|https?)://[^/?#@\s]+/?$",
        description="The server: `grpc://host:port` or `http://host:port`; with TLS `grpcs://` or "
        "`https://`.",
    )
    credentials: RemoteCredentials | None = None
    tls: RemoteTls | None = None
    model: str | None = Field(None, description="The model's name there; none: the folder's name.")
    version: str = Field("", description="The version there; empty: the one that server chooses.")
    timeout_s: float = Field(60, gt=0, description="Longest wait for one answer.")
    max_inflight: int = Field(
        8, ge=1, le=256, description="Requests that are under way to that server at once."
    )
    row_axis: bool = Field(
        True,
        description="Whether the first axis of its tensors is the row. If not, each request is "
        "one row, and the leading -1 of the shapes in this file is on no wire.",
    )
    join: bool = Field(
        True, description="Send the rows of several clients in one request; needs `row_axis`."
    )


class ModelConfig(_Section):
    """`models/<name>/model.yaml`."""

    format: Format = Field(description="What the version's folder holds.")
    factory: str | None = Field(
        None,
        description="`module:function` in a file beside the weights; builds the model "
        "(`safetensors`, `python`).",
    )
    trust_code: bool = Field(False, description="Needed by whatever runs the model's own code.")
    remote: Remote | None = None
    inputs: list[InputSpec] = Field(min_length=1, description="One per input tensor.")
    outputs: list[OutputSpec] = Field(min_length=1, description="One per output tensor.")
    example: str | None = Field(
        None, description="File with an OIP request; used for warm-up and readiness."
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
        _check_code(self.format, self.factory, self.trust_code)
        _check_speed(self)
        if isinstance(self.versions, list) and not self.versions:
            raise ValueError("versions: name at least one, or write `latest` or `all`")
        if (self.format == "remote") != (self.remote is not None):
            raise ValueError("format remote needs the section `remote`, and no other format has it")
        if self.remote and any(isinstance(guard, MahalanobisGuard) for guard in self.guards):
            raise ValueError("guards: mahalanobis needs features, which format remote has not")
        if not [i for i in self.inputs if not i.sensitive]:
            raise ValueError("inputs: at least one must not be sensitive")
        if self.fairness:
            classes = self.outputs[0].classes or []
            if self.fairness.favorable not in classes:
                raise ValueError(
                    f"fairness.favorable: '{self.fairness.favorable}' is not among the classes "
                    f"of output '{self.outputs[0].name}'"
                )
        return self


def _check_code(kind: Format, factory: str | None, trust_code: bool) -> None:
    if kind in NEEDS_FACTORY and not (factory and trust_code):
        raise ValueError(
            f"format {kind} needs `factory` and, because that is code, `trust_code: true`"
        )
    if kind not in NEEDS_FACTORY and factory:
        raise ValueError(f"format {kind} has no `factory`; only {', '.join(NEEDS_FACTORY)} do")
    if kind == "torchscript" and not trust_code:
        raise ValueError("format torchscript holds code, so it needs `trust_code: true`")


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


class Listen(_Section):
    """Where clients and operators connect."""

    host: str = Field("127.0.0.1", description="Address of both inference ports.")
    http_port: int = Field(8000, ge=0, le=65535, description="Takes HTTP and gRPC; 0: a free one.")
    grpc_port: int = Field(8001, ge=0, le=65535, description="Takes HTTP and gRPC; 0: a free one.")
    admin_host: str = Field("127.0.0.1", description="Address of the admin listener.")
    admin_port: int = Field(8002, ge=0, le=65535, description="Metrics and console; 0: a free one.")
    max_body_mib: int = Field(64, ge=1, le=1024, description="Largest request body.")
    headers_timeout_s: float = Field(
        10,
        ge=0.1,
        description="A client that takes longer for its headers gets 408.",
    )
    request_timeout_s: float = Field(
        60,
        ge=0.1,
        description="A client that takes longer for a whole request gets 408.",
    )
    idle_timeout_s: float = Field(
        300, ge=0.1, description="A connection without a request is closed after it."
    )
    trusted_proxies: int = Field(
        0, ge=0, le=16, description="Proxies in front, whose `x-forwarded-for` names the client."
    )


class Telemetry(_Section):
    """Where metrics go."""

    prometheus: bool = Field(True, description="Serve `/metrics` on the admin listener.")
    otlp_endpoint: str | None = Field(
        None, description="OTLP/HTTP collector, for example http://127.0.0.1:4318."
    )
    interval_s: float = Field(10, gt=0, description="Seconds between two OTLP exports.")


class ServerConfig(_Section):
    """`vigil.yaml`."""

    engine: Literal["ray", "local"] = Field(
        "ray", description="What starts and keeps the processes: Ray Serve or one supervisor."
    )
    ingress: Literal["direct", "envoy", "serve"] = Field(
        "direct",
        description="What answers clients: the gateway itself, Envoy, or Ray Serve's own proxy.",
    )
    transport: Literal["channel", "handle"] = Field(
        "channel", description="From gateway to replica: our frames, or a Ray call per batch."
    )
    ray_address: str | None = Field(
        None, description="Cluster to join; none starts a local Ray for this server."
    )
    listen: Listen = Field(default_factory=Listen)
    insecure: bool = Field(
        False, description="Allow a listener beyond loopback although nothing authenticates."
    )
    gateways: int = Field(1, ge=1, le=64, description="Gateway processes that share the ports.")
    models: Path = Field(Path("models"), description="Folder of the models.")
    poll_models_s: float | None = Field(
        None, gt=0, description="Look for changed models so often; none: load only when told to."
    )
    load_timeout_s: float = Field(
        120, gt=0, description="What loading a model into the running server may take."
    )
    remote_hosts: list[str] | None = Field(
        None,
        description="Hosts that models of format `remote` may name; none: whatever they name.",
    )
    data_dir: Path = Field(Path(".vigil"), description="Where the monitor keeps its state.")
    telemetry: Telemetry = Field(default_factory=Telemetry)
    drain_timeout_s: float = Field(30, gt=0, description="Grace for requests in flight at stop.")

    @model_validator(mode="after")
    def _check(self) -> ServerConfig:
        if self.engine == "local" and (self.ingress == "serve" or self.transport != "channel"):
            raise ValueError("engine local has ingress direct or envoy, and transport channel")
        if self.transport == "handle" and self.ingress != "serve":
            raise ValueError("transport handle needs ingress serve: other gateways run without Ray")
        loopback = {"127.0.0.1", "localhost", "::1"}
        if not self.insecure and not {self.listen.host, self.listen.admin_host} <= loopback:
            raise ValueError(
                "listen: without keys Vigil binds loopback only; use 127.0.0.1, or give "
                "--insecure if everyone who can reach the address may use it"
            )
        return self


SectionT = TypeVar("SectionT", bound=_Section)


def parse(kind: type[SectionT], raw: object, where: str) -> SectionT:
    """Validate `raw` (what YAML or JSON gave) as `kind`; `where` names the source in errors.

    Raises:
        ConfigError: with the first wrong key and what is wrong with it.
    """
    try:
        return kind.model_validate(raw if raw is not None else {})
    except ValidationError as error:
        raise ConfigError(f"{where}: {first_problem(error, kind)}") from None


def load_yaml(path: Path) -> object:
    """Read one YAML file.

    Raises:
        ConfigError: the file is missing or not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None


def load_server(path: Path | None, overrides: Mapping[str, Any]) -> ServerConfig:
    """Load `vigil.yaml` (or the defaults) with command-line `overrides` merged on top.

    Relative paths in the file are relative to the file.

    Raises:
        ConfigError: something in the file or the overrides is wrong.
    """
    raw = load_yaml(path) if path else {}
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: must be a mapping of keys to values")
    merged = dict(raw)
    if path:
        for key in ("models", "data_dir"):
            if isinstance(merged.get(key), str):
                merged[key] = path.parent / merged[key]
    for key, value in overrides.items():
        inner = merged.get(key)
        merged[key] = {**(inner or {}), **value} if isinstance(value, dict) else value
    return parse(ServerConfig, merged, str(path) if path else "configuration")


def load_model(directory: Path) -> ModelConfig:
    """Load `model.yaml` of the model in `directory`.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    path = directory / "model.yaml"
    if not path.exists():
        raise ConfigError(f"{path}: no such file; every folder among the models needs one")
    return parse(ModelConfig, load_yaml(path), str(path))
