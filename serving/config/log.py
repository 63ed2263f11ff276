"""The sections `log` of `vigil.yaml` and of `model.yaml`: the prediction log."""

from __future__ import annotations

import re
from typing import Final, Literal

from pydantic import Field, field_validator, model_validator

from serving.config.section import Section

Capture = Literal["full", "features", "none"]
LOG_VARIABLE: Final = "VIGIL_LOG"
"""Environment variable that gives a monitor process the section as JSON: unlike command lines,
which everybody can read, it may hold a password within a URL."""
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


def is_path(url: str) -> bool:
    """Whether the place of a log is a path of this machine, and no URL."""
    return bool(url.strip()) and _SCHEME.fullmatch(url) is None


class SensitiveLog(Section):
    """Sensitive features, which are logged in a dataset of their own."""

    retention_days: float | None = Field(
        None, gt=0, description="They are deleted after it; none: with the predictions."
    )


class ModelLog(Section):
    """What of a model's predictions is logged, where that differs from `vigil.yaml`."""

    capture: Capture | None = Field(
        None, description="As `log.capture` of `vigil.yaml`; none: what stands there."
    )
    sample: float | None = Field(
        None, ge=0, le=1, description="As `log.sample` of `vigil.yaml`; none: what stands there."
    )


class Log(Section):
    """Where predictions are logged, what of them, and for how long."""

    url: str | None = Field(
        None,
        description="A folder, or a URL that pyarrow or fsspec know, such as `s3://bucket/log`, or "
        "`s3://bucket/log?endpoint_override=minio:9000&scheme=http` for a server of your own; "
        "none: the folder `log` in `data_dir`.",
    )
    capture: Capture = Field(
        "full",
        description="`full`: all inputs and outputs; `features`: those of one value per row and "
        "column, without images and other tensors; `none`: neither, only what became of each row.",
    )
    sample: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the requests that are logged. Errors, and what a guard decided on, "
        "are always logged.",
    )
    retention_days: float = Field(30, gt=0, description="Rows are deleted after it.")
    max_gib: float = Field(
        10, gt=0, description="Beyond this size of its files the oldest are deleted."
    )
    sensitive: SensitiveLog = Field(default_factory=SensitiveLog)

    def of_model(self, own: ModelLog | None) -> ModelLog:
        """Return how a model is logged, with all that its own section leaves out."""
        own = own or ModelLog()
        return ModelLog(
            capture=own.capture or self.capture,
            sample=self.sample if own.sample is None else own.sample,
        )

    @field_validator("url")
    @classmethod
    def _names_a_place(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not url.strip() or not url.isprintable():
            raise ValueError("is no place; write a folder, or a URL such as s3://bucket/log")
        scheme = _SCHEME.fullmatch(url)
        if scheme and not scheme[2].strip("/"):
            raise ValueError(
                f"'{url}' names no folder; write one behind the scheme, such as "
                f"{scheme[1]}://bucket/log"
            )
        return url

    @model_validator(mode="after")
    def _not_longer(self) -> Log:
        days = self.sensitive.retention_days
        if days is not None and days > self.retention_days:
            raise ValueError(
                f"sensitive.retention_days is {days:g}, longer than that of the "
                f"predictions that they belong to (retention_days: {self.retention_days:g}); "
                "lower it, or raise retention_days"
            )
        return self
