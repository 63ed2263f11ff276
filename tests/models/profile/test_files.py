"""What `vigil profile` leaves beside a version, read back; damaged files are named."""

import io
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from monitors.reference.learnt_metric import Learnt
from monitors.reference.profile import ReferenceProfile
from serving.config import ConfigError, ModelConfig
from serving.models.profile.files import (
    BASELINE,
    DRIFT,
    PERFORMANCE,
    Baseline,
    damaged,
    learned_path,
    read_baseline,
    read_drift_reference,
    read_learned,
    read_performance,
    write_performance,
)
from serving.models.repository.folder import ModelEntry


@pytest.fixture
def entry(tmp_path):
    config = {
        "format": "onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
    }
    return ModelEntry("m", "1", tmp_path / "m" / "1", ModelConfig.model_validate(config))


@pytest.fixture
def write(entry):
    """Writes a file of the profile."""
    entry.profile.mkdir(parents=True)
    return lambda name, content: (entry.profile / name).write_bytes(content)


def guard_of(entry):
    return read_learned(entry, "guard")


def archive(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


READERS = [
    (DRIFT, read_drift_reference),
    ("guard.npz", guard_of),
    (BASELINE, read_baseline),
    (PERFORMANCE, read_performance),
]


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize(("name", "read"), READERS)
def test_no_profile_yet(entry, name, read, is_there):
    (entry.profile / name if is_there else entry.profile).mkdir(parents=True)  # no file
    assert read(entry) is None


def test_the_reference_for_drift_comes_back(entry, write):
    fitted = ReferenceProfile.fit({"a": np.arange(50.0), "b": np.array(["x", "y"] * 25)})
    write(DRIFT, msgspec.json.encode(fitted.to_dict()))
    assert read_drift_reference(entry).to_dict() == fitted.to_dict()


def test_each_guard_has_its_own_arrays(entry, write):
    write("guard.npz", archive(mean=np.arange(3.0), names=np.array(["a", "b"])))
    write("other.npz", archive(limit=np.float32(2.5)))
    found = guard_of(entry)
    assert sorted(found) == ["mean", "names"]
    assert found["mean"].tolist() == [0, 1, 2]
    assert found["names"].tolist() == ["a", "b"]
    assert read_learned(entry, "other")["limit"] == 2.5
    assert read_learned(entry, "third") is None
    assert learned_path(entry, "guard") == entry.profile / "guard.npz"


def test_what_a_guard_has_learned_runs_no_code(entry, write):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("it was unpickled",)

    write("guard.npz", archive(mean=np.array([Bomb()], dtype=object)))
    with pytest.raises(ConfigError, match=r"guard\.npz: damaged \(ValueError: .*allow_pickle"):
        guard_of(entry)


def test_the_baseline_comes_back(entry, write):
    baseline = Baseline("v1", {"x": [1.5, 2.0]})
    write(BASELINE, msgspec.json.encode(baseline))
    assert read_baseline(entry) == baseline


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([1.5, 2], [[1.5, 2]]),
        ([[[1, 2], [3, 4]]], [[[[1, 2], [3, 4]]]]),
        ([True, False], [[1, 0]]),
        ([2**70], [[float(2**70)]]),
        ([], [[]]),
    ],
)
def test_numbers_of_a_baseline_are_float64_with_a_row_axis(row, expected):
    array = Baseline("i", {"x": row}).arrays()["x"]
    assert array.dtype == np.float64
    assert array.tolist() == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (["car", "Köln"], [[b"car", "Köln".encode()]]),
        ([["a"], [""]], [[[b"a"], [b""]]]),
        (["1.5"], [[b"1.5"]]),
        (["a\0"], [[b"a\0"]]),
    ],
)
def test_texts_of_a_baseline_are_bytes_with_a_row_axis(row, expected):
    array = Baseline("i", {"x": row}).arrays()["x"]
    assert array.dtype == object
    assert array.tolist() == expected


def test_what_was_learnt_of_performance_comes_back(entry, write):
    learnt = {"accuracy": Learnt(0.9, 0.85, 300), "mae": Learnt(2.0, 2.5, 300)}
    write(PERFORMANCE, write_performance(learnt))
    assert read_performance(entry) == learnt


def test_every_input_has_its_row():
    arrays = Baseline("i", {"x": [1], "t": ["a"]}).arrays()
    assert {name: array.tolist() for name, array in arrays.items()} == {"x": [[1]], "t": [[b"a"]]}


def says(name, error="[A-Z][A-Za-z]+"):
    return rf"/m/1/profile/{name}: damaged \({error}: .*\); run `vigil profile` again$"


@pytest.mark.parametrize(("name", "read"), READERS)
@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"null", b"7", b"\xff", b"PK\x03\x04", b"\x93NUMPY\x01\x00"]
)
def test_damaged_files_are_named(entry, write, name, read, content):
    write(name, content)
    with pytest.raises(ConfigError, match=says(name)):
        read(entry)


@pytest.mark.parametrize(("name", "read"), READERS)
def test_a_file_that_cannot_be_read_is_named(entry, write, monkeypatch, name, read):
    write(name, b"{}")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigError, match=says(name, "PermissionError")):
        read(entry)


@pytest.mark.parametrize("columns", ["null", "[]", "1", '"a"', '{"a": 1}', '{"a": {}}'])
def test_columns_that_are_none_are_named(entry, write, columns):
    write(DRIFT, f'{{"n": 1, "columns": {columns}}}'.encode())
    with pytest.raises(ConfigError, match=says(DRIFT)):
        read_drift_reference(entry)


@pytest.mark.parametrize("row", ["[[1, 2], [3]]", '["a", 1]', "[{}]", "[1e400]", "1", "null"])
def test_a_baseline_that_is_no_array_is_named(entry, write, row):
    write(BASELINE, f'{{"id": "i", "inputs": {{"x": {row}}}}}'.encode())
    with pytest.raises(ConfigError, match=says(BASELINE)):
        read_baseline(entry)


# Places in a zip's directory, and what stands there for what no reader of Python unpacks.
DAMAGES = {
    "an unknown version": (6, 99),
    "encrypted": (8, 1),
    "patched": (8, 32),
    "method": (10, 7),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_archive_that_is_not_to_be_unpacked_is_named(entry, write, damage):
    place, value = DAMAGES[damage]
    content = bytearray(archive(mean=np.arange(3.0)))
    for start, shift in ((0, -2), (content.index(b"PK\x01\x02"), 0)):  # of the file, of the list
        content[start + place + shift] = value
    write("guard.npz", bytes(content))
    with pytest.raises(ConfigError, match=says("guard.npz")):
        guard_of(entry)


@pytest.mark.parametrize("header", [b"(", b"{'descr': '<f8'}", b"\n\n", b"[" * 5000])
def test_an_array_without_a_header_is_named(entry, write, header):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        length = len(header).to_bytes(2, "little")
        file.writestr("mean.npy", b"\x93NUMPY\x01\x00" + length + header)
    write("guard.npz", buffer.getvalue())
    with pytest.raises(ConfigError, match=says("guard.npz")):
        guard_of(entry)


def test_the_sentence_holds_path_and_cause():
    error = damaged(Path("/m/1/profile/drift.json"), KeyError("n"))
    assert error.message == (
        "/m/1/profile/drift.json: damaged (KeyError: 'n'); run `vigil profile` again"
    )
