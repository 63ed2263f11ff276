"""The section `log` of `vigil.yaml`."""

from __future__ import annotations

import pytest

from serving.config import Log, ModelLog, SensitiveLog, ServerConfig


def test_defaults() -> None:
    log = ServerConfig().log
    assert log is not None
    assert (log.url, log.capture, log.sample) == (None, "full", 1.0)
    assert (log.retention_days, log.max_gib, log.sensitive.retention_days) == (30, 10, None)


@pytest.mark.parametrize("url", ["s3://bucket/log", "/data/log", "log", "memory://log", "a://b"])
def test_places(url: str) -> None:
    assert Log(url=url).url == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "is no place; write a folder, or a URL"), (" ", "is no place"),
        ("a\nb", "is no place"), ("s3://", "behind the scheme, such as s3://bucket/log"),
        ("file:///", "names no folder"),
    ],
)  # fmt: skip
def test_what_names_no_place(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Log(url=url)


@pytest.mark.parametrize(
    ("key", "value"),
    [("sample", 1.1), ("sample", -0.1), ("sample", float("nan")), ("retention_days", 0),
     ("max_gib", 0), ("capture", "some")],
)  # fmt: skip
def test_what_is_out_of_bounds(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=key):
        Log.model_validate({key: value})


def test_sensitive_features_are_kept_no_longer_than_their_predictions() -> None:
    assert Log(retention_days=7, sensitive=SensitiveLog(retention_days=7)).retention_days == 7
    with pytest.raises(ValueError, match=r"retention_days is 8, longer than that of the .*: 7"):
        Log(retention_days=7, sensitive=SensitiveLog(retention_days=8))


@pytest.mark.parametrize(
    ("own", "capture", "sample"),
    [
        (None, "features", 0.5), (ModelLog(), "features", 0.5), (ModelLog(sample=0), "features", 0),
        (ModelLog(capture="none"), "none", 0.5), (ModelLog(capture="full", sample=1), "full", 1),
    ],
)  # fmt: skip
def test_a_models_own_section_wins(own: ModelLog | None, capture: str, sample: float) -> None:
    found = Log(capture="features", sample=0.5).of_model(own)
    assert (found.capture, found.sample) == (capture, sample)


def test_null_switches_it_off() -> None:
    assert ServerConfig.model_validate({"log": None}).log is None
