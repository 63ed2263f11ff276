"""Splits of a demo model's rows, and the folder that is made of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from serving.demo import assemble as module
from serving.demo.assemble import Splits, assemble, split
from serving.models.profile.dataset import Dataset, read_dataset
from serving.models.repository.folder import ModelRepository


def dataset(counts, labels=str):
    """Rows that are told apart by their only value, `counts` of each label."""
    names = [label for label, count in counts.items() for _ in range(count)]
    kind = object if labels is str else np.int64
    numbers = np.arange(len(names), dtype=np.float32)[:, None]
    sex = np.array(["f", "m"] * len(names), dtype=object)[: len(names)]
    return Dataset({"x": numbers}, np.array(names, dtype=kind), {"sex": sex})


def numbers(part):
    return part.inputs["x"][:, 0].tolist()


def parts(splits):
    return splits.reference, splits.heldout, splits.test


# -- splits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heldout", "test", "sizes"),
    [
        (0.2, 0.2, [60, 20, 20]),
        (0.2, 0.3, [50, 20, 30]),
        (0, 0.5, [50, 0, 50]),
        (0, 0, [100, 0, 0]),
    ],
)
def test_every_row_is_in_one_part_and_each_has_its_share(heldout, test, sizes):
    given = dataset({"a": 80, "b": 20})
    made = parts(split(given, heldout, test, 0))
    assert [part.rows for part in made] == sizes
    assert sorted(number for part in made for number in numbers(part)) == numbers(given)


def test_every_class_has_the_same_share_in_each_part():
    made = parts(split(dataset({"a": 80, "b": 20}), 0.2, 0.3, 0))
    for part, wanted in zip(made, [(40, 10), (16, 4), (24, 6)], strict=True):
        assert ((part.y_true == "a").sum(), (part.y_true == "b").sum()) == wanted


def test_what_belongs_to_a_row_stays_with_it():
    given = dataset({"a": 30, "b": 30})
    for part in parts(split(given, 0.3, 0.3, 5)):
        rows = np.array(numbers(part), np.int64)
        assert part.y_true.tolist() == given.y_true[rows].tolist()
        assert part.sensitive["sex"].tolist() == given.sensitive["sex"][rows].tolist()


def test_the_seed_decides_and_rows_are_shuffled():
    given = dataset({"a": 50, "b": 50})
    once, again, other = (numbers(split(given, 0.2, 0.2, seed).test) for seed in (1, 1, 2))
    assert once == again != other
    assert once != sorted(once)


def test_labels_may_be_numbers_and_a_class_of_one_row_is_trained_on():
    made = split(dataset({1: 1, 2: 9}, int), 0.2, 0.2, 0)
    assert [(part.y_true == 1).sum() for part in parts(made)] == [1, 0, 0]
    assert [part.rows for part in parts(made)] == [6, 2, 2]


# -- the folder -----------------------------------------------------------------------------------


@pytest.fixture
def splits():
    def rows(n, seed):
        random = np.random.default_rng(seed)
        words = [[b"car", b"rent"], [b"home", b"own"]]
        return Dataset(
            {
                "numeric": random.uniform(0, 1, (n, 5)).astype(np.float32),
                "categorical": np.array((words * n)[:n], dtype=object),
            },
            np.array((["approved", "rejected"] * n)[:n], dtype=object),
            {"sex": np.array((["f", "m"] * n)[:n], dtype=object)},
        )

    return Splits(rows(6, 0), rows(4, 1), rows(3, 2))


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "loans"
    (made / "1").mkdir(parents=True)
    (made / "1" / "model.safetensors").write_bytes(b"weights")
    (made / "1" / "loans_net.py").write_text("")
    return made


@pytest.fixture
def fitted(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "fit_profile", lambda *given: calls.append(given))
    return calls


def test_a_folder_is_completed_and_its_profile_fitted_last(folder, splits, fitted):
    assemble(folder, "loans.yaml", splits, print)
    ((entry, reference, heldout, progress),) = fitted
    assert (entry.name, entry.version, entry.directory) == ("loans", "1", folder / "1")
    assert reference == folder / "1" / "reference.parquet"
    assert heldout == folder / "1" / "heldout.parquet"
    assert progress is print
    assert entry.example == (folder / "example.json").read_bytes()
    for name in ("reference", "heldout", "test"):
        back = read_dataset(folder / "1" / f"{name}.parquet", entry.config)
        given = getattr(splits, name)
        np.testing.assert_array_equal(back.inputs["numeric"], given.inputs["numeric"])
        assert back.inputs["categorical"].tolist() == given.inputs["categorical"].tolist()
        assert back.y_true.tolist() == given.y_true.tolist()
        assert back.sensitive["sex"].tolist() == given.sensitive["sex"].tolist()


def test_an_example_is_two_rows_of_the_test_part_in_order_of_the_inputs(folder, splits, fitted):
    assemble(folder, "loans.yaml", splits, print)
    text = (folder / "example.json").read_text()
    numeric, categorical = json.loads(text)["inputs"]
    assert (numeric["name"], numeric["shape"], numeric["datatype"]) == ("numeric", [2, 5], "FP32")
    first = splits.test.inputs["numeric"][:2]
    np.testing.assert_array_equal(np.float32(numeric["data"]), first.ravel())
    assert categorical == {
        "name": "categorical", "shape": [2, 2], "datatype": "BYTES",
        "data": ["car", "rent", "home", "own"],
    }  # fmt: skip
    assert "\n" in text.strip()  # people read it


def test_the_configuration_is_the_file_word_for_word(folder, splits, fitted):
    (folder / "model.yaml").write_text("old")
    assemble(folder, "loans.yaml", splits, print)
    source = module.resources.files("serving.demo").joinpath("configs", "loans.yaml")
    assert (folder / "model.yaml").read_text() == source.read_text(encoding="utf-8")
    assert ModelRepository(folder.parent).get("loans").config.factory == "loans_net:build"


def test_a_configuration_that_is_not_there_leaves_the_folder_alone(folder, splits, fitted):
    with pytest.raises(FileNotFoundError):
        assemble(folder, "none.yaml", splits, print)
    assert not (folder / "model.yaml").exists()
    assert fitted == []
