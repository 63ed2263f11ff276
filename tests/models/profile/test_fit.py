import math
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from guards.rows import Rows
from serving.config import ConfigError, ModelConfig, parse
from serving.models.formats.loader import load
from serving.models.guards.build import build_guard
from serving.models.profile import fit as profile
from serving.models.profile.dataset import DataColumns, Dataset, read_dataset, write_dataset
from serving.models.profile.files import (
    BASELINE,
    DRIFT,
    PERFORMANCE,
    REFERENCE,
    read_baseline,
    read_drift_reference,
    read_performance,
)
from serving.models.profile.fit import fit_profile
from serving.models.repository.folder import ModelEntry, ModelRepository
from serving.models.repository.manifest import verify_all, write_manifest

GUARDED = """
format: safetensors
factory: net:build
trust_code: true
inputs:
  - {name: x, datatype: FP32, shape: [-1, 3]}
outputs:
  - {name: y, datatype: FP32, shape: [-1, 2]}
guards:
  - {name: mahalanobis}
"""

UNGUARDED = GUARDED.replace("FP32, shape: [-1, 3]", "INT64, shape: [-1, 3]").partition("guards")[0]


@pytest.fixture
def cancer(demo_root, tmp_path):
    shutil.copytree(demo_root / "cancer", tmp_path / "cancer")
    shutil.rmtree(tmp_path / "cancer" / "1" / "profile")
    return ModelRepository(tmp_path).get("cancer")


def rows_of(path, entry):
    return read_dataset(path, entry.config)


def test_files_come_back_as_they_were_fitted(cancer):
    steps = []
    reference = cancer.directory / "reference.parquet"
    heldout = cancer.directory / "heldout.parquet"
    written = fit_profile(cancer, reference, heldout, lambda *step: steps.append(step))
    assert [path.name for path in written] == [
        DRIFT, "mahalanobis.npz", PERFORMANCE, BASELINE, REFERENCE,
    ]  # fmt: skip
    accuracy = read_performance(cancer)["accuracy"]
    assert 0.7 < accuracy.threshold < accuracy.value <= 1
    done = {what: [step[1:] for step in steps if step[0] == what] for what, *_ in steps}
    assert done["profile"] == [(1, 3), (2, 3), (3, 3)]
    assert done["answers"][-1] == (398, 398)

    x = np.concatenate([rows_of(path, cancer).inputs["x"] for path in (reference, heldout)])
    drift = read_drift_reference(cancer)
    assert drift.n == len(x)
    assert list(drift.columns) == [f.name for f in cancer.config.inputs[0].features]
    assert drift.outputs.n == len(x)
    output = cancer.config.outputs[0]
    assert list(drift.outputs.columns) == [f"{output.name}[1]", f"{output.name}.class"]
    baseline = read_baseline(cancer)
    np.testing.assert_allclose(baseline.arrays()["x"], x.mean(axis=0, dtype=float)[None])
    assert len(baseline.id) == 16


def test_threshold_gives_the_stated_rate_on_the_held_out_rows(cancer):
    heldout = cancer.directory / "heldout.parquet"
    fit_profile(cancer, cancer.directory / "reference.parquet", heldout)
    inputs = rows_of(heldout, cancer).inputs
    features = load(cancer, "cpu").predict_with_features(inputs).features
    n = len(features)
    [section] = [guard for guard in cancer.config.guards if guard.name == "mahalanobis"]
    flagged = build_guard(cancer, section).check(Rows(n, features=features)).action > 0
    assert flagged.sum() == n - math.ceil((n + 1) * 0.95)


def test_same_data_same_files(cancer):
    reference = cancer.directory / "reference.parquet"
    first = [path.read_bytes() for path in fit_profile(cancer, reference)]
    assert [path.read_bytes() for path in fit_profile(cancer, reference)] == first


def test_one_file_is_split(cancer):
    reference = cancer.directory / "reference.parquet"
    fit_profile(cancer, reference)
    assert read_drift_reference(cancer).n == rows_of(reference, cancer).rows


def test_missing_values_do_not_reach_the_baseline(cancer, tmp_path):
    reference = rows_of(cancer.directory / "reference.parquet", cancer)
    spoilt = reference.inputs["x"].copy()
    spoilt[0] = np.nan
    spoilt[1] = np.inf
    spoilt[:, 4] = np.nan
    unguarded = cancer.config.model_copy(update={"guards": []})
    entry = type(cancer)(cancer.name, "1", cancer.directory, unguarded)
    path = tmp_path / "spoilt.parquet"
    write_dataset(path, type(reference)({"x": spoilt}), entry.config)
    assert [path.name for path in fit_profile(entry, path)] == [DRIFT, BASELINE, REFERENCE]
    mean = read_baseline(entry).arrays()["x"][0]
    np.testing.assert_allclose(mean[:4], reference.inputs["x"][2:, :4].mean(axis=0), rtol=1e-5)
    assert mean[4] == 0


def test_text_has_its_most_frequent_values_as_baseline(demo_root):
    loans = ModelRepository(demo_root).get("loans")
    baseline = read_baseline(loans).arrays()
    assert sorted(baseline) == ["categorical", "numeric"]
    assert baseline["categorical"].tolist() == [[b"car", b"rent"]]
    purpose = read_drift_reference(loans).columns["purpose"]
    assert set(purpose.categories) == {"car", "education", "home", "business"}


def test_a_rare_text_is_not_told(demo_root, tmp_path):
    loans = ModelRepository(demo_root).get("loans")
    entry = type(loans)(loans.name, "1", tmp_path, loans.config)
    rows = rows_of(loans.directory / "reference.parquet", loans).take(np.arange(19))
    rows.inputs["categorical"][:] = b"home"
    path = tmp_path / "few.parquet"
    write_dataset(path, rows, entry.config)
    fit_profile(entry, path)
    first = [column.categories[0].encode() for column in entry.config.inputs[1].features]
    assert read_baseline(entry).arrays()["categorical"].tolist() == [first]


def test_whole_numbers_have_a_mean_too(make_factory_model, tmp_path):
    entry = make_factory_model(config=UNGUARDED)
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": pa.array([[1, 2, 3], [2, 2, 4]], pa.list_(pa.int64(), 3))}), path)
    fit_profile(entry, path)
    assert read_baseline(entry).arrays()["x"].tolist() == [[1.5, 2.0, 3.5]]


def test_rows_for_the_drift_report_are_spread_over_all_and_few(
    make_factory_model, tmp_path, monkeypatch
):
    entry = make_factory_model(UNGUARDED)
    manifest = entry.directory / "manifest.json"
    listed = [path.name for path in entry.directory.iterdir() if path != manifest]
    (entry.directory / REFERENCE).write_bytes(b"of before")
    write_manifest(entry.directory, [*listed, REFERENCE])
    path = tmp_path / "rows.parquet"
    rows = np.arange(300, dtype=np.int64).reshape(100, 3)
    write_dataset(path, Dataset({"x": rows}, np.arange(100)), entry.config)
    monkeypatch.setattr(profile, "REPORT_ROWS", 10)
    fit_profile(entry, path)
    kept = rows_of(entry.directory / REFERENCE, entry)
    assert kept.rows == 10
    assert kept.y_true is None
    assert set(map(tuple, kept.inputs["x"].tolist())) <= set(map(tuple, rows.tolist()))
    verify_all(entry.directory)
    monkeypatch.setattr(profile, "REPORT_BYTES", 4 * 12 + 1)
    fit_profile(entry, path)
    assert rows_of(entry.directory / REFERENCE, entry).rows == 4


def test_the_data_itself_may_be_the_reference(cancer):
    reference = cancer.directory / REFERENCE
    before = reference.read_bytes()
    fit_profile(cancer, reference)
    assert reference.read_bytes() == before


def test_images_have_a_column_per_pixel(demo_root):
    digits = ModelRepository(demo_root).get("digits")
    assert len(read_drift_reference(digits).columns) == 64
    assert read_baseline(digits).arrays()["image"].shape == (1, 1, 8, 8)


def test_a_guard_without_features_is_refused(make_factory_model, tmp_path):
    entry = make_factory_model(config=GUARDED)
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": pa.array([[1.0, 2.0, 3.0]] * 30)}), path)
    with pytest.raises(ConfigError, match="needs features"):
        fit_profile(entry, path)


def test_a_converted_model_is_measured_on_the_held_out_rows(make_factory_model, tmp_path):
    made = make_factory_model()
    config = made.config.model_copy(update={"precision": "bf16", "precision_tolerance": 1e-6})
    table = pa.table({"x": [[0.1 * row, 1.0, 2.0 - row] for row in range(40)]})
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(ConfigError, match=r"on the held-out rows \(12 rows\), 1e-06 allowed"):
        fit_profile(replace(made, config=config), tmp_path / "rows.parquet")
    assert not made.profile.exists()
    enough = config.model_copy(update={"precision_tolerance": 0.1})
    assert fit_profile(replace(made, config=enough), tmp_path / "rows.parquet")


def test_too_few_rows_for_the_guard(cancer, tmp_path):
    reference = rows_of(cancer.directory / "reference.parquet", cancer)
    path = tmp_path / "few.parquet"
    write_dataset(path, reference.take(np.arange(20)), cancer.config)
    with pytest.raises(ConfigError, match="needs at least 19 held-out rows; got 6"):
        fit_profile(cancer, path)


TABLE = """
format: torch_export
inputs:
  - {name: x, datatype: FP32, shape: [-1, 2]}
  - {name: word, datatype: BYTES, shape: [-1]}
outputs:
  - {name: y, datatype: FP32, shape: [-1, 2], classes: ["no", "yes"]}
fairness: {sensitive: [sex], favorable: "yes"}
"""


def test_what_rows_in_csv_teach_and_what_they_do_not(tmp_path):
    config = parse(ModelConfig, yaml.safe_load(TABLE), "m")
    entry = ModelEntry("m", "1", tmp_path, config)
    path = tmp_path / "rows.csv"
    lines = [f"2026-01-01T00:{at // 60:02}:{at % 60:02},{at},7,w{at % 2},yes" for at in range(300)]
    path.write_text("\n".join(["at,x[0],x[1],word,right", *lines]))
    told = []
    fit_profile(entry, path, columns=DataColumns(time="at", label="right"), told=told.append)
    profile = read_drift_reference(entry)
    assert len(profile.cells) == 12
    assert profile.cells[0].first == 1767225600.0
    assert profile.columns["word"].categories == ("w0", "w1")
    assert profile.outputs is None
    assert [line.partition(":")[0] for line in told] == [
        "labels", "fairness", "drift of answers", "column 'x[1]'",
        "thresholds of performance",
    ]  # fmt: skip
    assert told[2].endswith("it will be compared with the first answers that are served")
    fit_profile(entry, path, told=told.append)
    assert not (tmp_path / "profile" / PERFORMANCE).exists()
    assert "--label" in told[5]
    assert any("--time" in line for line in told[6:])


def test_of_a_model_on_another_server_no_answers_are_learnt(tmp_path):
    remote = TABLE.replace("torch_export", "remote") + "remote: {url: 'grpc://127.0.0.1:1'}\n"
    config = parse(ModelConfig, yaml.safe_load(remote), "m")
    entry = ModelEntry("m", "1", tmp_path, config)
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["x[0],x[1],word", *(f"{at},7,w" for at in range(50))]))
    told = []
    fit_profile(entry, path, told=told.append)
    (line,) = [line for line in told if line.startswith("drift of answers")]
    assert "on another server" in line
