"""How a model computes: replicas and batches."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from serving.config.section import Section

Precision = Literal["fp32", "bf16", "fp16", "int8-dynamic"]
Compile = Literal["none", "cuda-graphs", "default", "max-autotune"]


class Replicas(Section):
    """How many replicas of each version, and on what."""

    min: int = Field(
        1,
        ge=1,
        description="Replicas to start. Of two and more, requests wait for a minute at most while "
        "all are replaced; without the only one, they get 503 until it is back.",
    )
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


class Batching(Section):
    """Bounds and order of the queue. Without any, a free slot takes all that waits."""

    latency_slo_ms: float | None = Field(
        None, gt=0, description="Goal from arrival to answer; bounds the rows of a batch by it."
    )
    max_batch_size: int | None = Field(
        None, ge=1, description="Rows per batch; none: 1024. Larger requests are cut and rejoined."
    )
    join: bool = Field(
        True,
        description="Compute the rows of several requests together, and cut requests that are "
        "larger than `max_batch_size`. `false`: the rows of a request belong together, as where "
        "scores are compared with each other, so each request is computed alone and whole.",
    )
    row_axis: bool = Field(
        True,
        description="Whether the first axis of the tensors is the row. If not, each request is "
        "one row and is computed alone, and the leading -1 of the shapes in this file is on no "
        "wire.",
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
        500,
        ge=0,
        le=10_000,
        description="Where single requests follow each other more quickly than this, gateways and "
        "replicas stay awake for the next one, so long at most; 0: never.",
    )

    @field_validator("buckets")
    @classmethod
    def _increasing(cls, value: list[int] | None) -> list[int] | None:
        if value and (min(value) < 1 or sorted(set(value)) != value):
            raise ValueError("must be positive and increasing, such as [1, 4, 16]")
        return value

    @model_validator(mode="after")
    def _check(self) -> Batching:
        if (self.default_priority_level or 0) > self.priority_levels:
            raise ValueError("default_priority_level must be one of the priority_levels")
        return self
