import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from serving.config import ConfigError, ModelConfig
from serving.demo.loans import sample_applicants
from serving.models.profile.dataset import DataColumns, Dataset, read_dataset, write_dataset
from serving.models.repository.folder import ModelRepository


@pytest.fixture
def mixed(demo_root):
    return ModelRepository(demo_root).get("loans").config


def config_of(*inputs):
    return ModelConfig.model_validate(
        {
            "format": "torch_export",
            "inputs": inputs,
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
        }
    )


IMAGE = {"name": "image", "datatype": "UINT8", "shape": [-1, 2, 3]}
TABLE = {
    "name": "t",
    "datatype": "FP32",
    "shape": [-1, 2],
    "features": [{"name": "a"}, {"name": "b"}],
}


def test_mixed_rows_come_back_as_written(mixed, tmp_path):
    written = sample_applicants(50, seed=1)
    write_dataset(tmp_path / "new" / "rows.parquet", written, mixed)
    read = read_dataset(tmp_path / "new" / "rows.parquet", mixed)
    assert read.rows == 50
    for name, array in written.inputs.items():
        assert read.inputs[name].dtype == array.dtype
        np.testing.assert_array_equal(read.inputs[name], array)
    np.testing.assert_array_equal(read.y_true, written.y_true)
    np.testing.assert_array_equal(read.sensitive["sex"], written.sensitive["sex"])


def test_images_are_flattened_and_come_back(tmp_path):
    config = config_of(IMAGE)
    images = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    path = tmp_path / "images.parquet"
    write_dataset(path, Dataset({"image": images}, np.arange(4.0)), config)
    assert pq.read_schema(path).field("image").type == pa.list_(pa.uint8(), 6)
    read = read_dataset(path, config)
    np.testing.assert_array_equal(read.inputs["image"], images)
    np.testing.assert_array_equal(read.y_true, np.arange(4.0))
    assert read.sensitive == {}


def test_same_rows_same_bytes(mixed, tmp_path):
    for name in ("one", "two"):
        write_dataset(tmp_path / name, sample_applicants(50, seed=1), mixed)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_columns_are_converted_and_others_left_alone(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"b": [1, 2], "a": [0.5, None], "note": ["x", "y"]}), path)
    read = read_dataset(path, config_of(TABLE))
    np.testing.assert_array_equal(read.inputs["t"], np.array([[0.5, 1], [np.nan, 2]], np.float32))
    assert read.y_true is None


def test_sensitive_inputs_may_be_missing(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": [1.0], "b": [2.0]}), path)
    sex = {"name": "sex", "datatype": "BYTES", "shape": [-1], "sensitive": True}
    assert list(read_dataset(path, config_of(TABLE, sex)).inputs) == ["t"]


def test_take(mixed):
    dataset = sample_applicants(10, seed=1)
    taken = dataset.take(np.array([3, 1]))
    np.testing.assert_array_equal(taken.inputs["numeric"], dataset.inputs["numeric"][[3, 1]])
    assert list(taken.sensitive["sex"]) == list(dataset.sensitive["sex"][[3, 1]])


@pytest.mark.parametrize(
    ("table", "inputs", "says"),
    [
        ({"a": [1.0]}, [TABLE], "has no column 'b' for input 't'"),
        ({"a": pa.array([], pa.float32()), "b": pa.array([], pa.float32())}, [TABLE], "no rows"),
        ({"a": ["x"], "b": ["y"]}, [TABLE], "input 't' cannot be read as FP32"),
        ({"image": [[1, 2]]}, [IMAGE], "input 'image' cannot be read as UINT8"),
        ({"image": [5]}, [IMAGE], "input 'image' cannot be read as UINT8"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, table, inputs, says):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(table), path)
    with pytest.raises(ConfigError, match=says):
        read_dataset(path, config_of(*inputs))


def test_missing_and_foreign_files(tmp_path):
    (tmp_path / "text").write_text("a,b\n1,2\n")
    for name in ("text", "gone"):
        with pytest.raises(ConfigError, match="not a readable Parquet file"):
            read_dataset(tmp_path / name, config_of(TABLE))


def test_texts_and_bytes_without_features_come_back_whatever_they_are(tmp_path):
    spec = {"name": "words", "datatype": "BYTES", "shape": [-1, 1]}
    config = config_of(spec)
    path = tmp_path / "words.parquet"
    for values in ([b"a", b"\xc3\xa4"], [b"\xff\xd8", b"x"]):
        words = np.array(values, dtype=object)[:, None]
        write_dataset(path, Dataset({"words": words}), config)
        assert read_dataset(path, config).inputs["words"].tolist() == words.tolist()


@pytest.mark.parametrize(("datatype", "values"), [("BYTES", ["a", "b"]), ("INT64", [1, 2])])
def test_one_value_per_row_may_be_a_plain_column(tmp_path, datatype, values):
    config = config_of({"name": "x", "datatype": datatype, "shape": [-1]})
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"x": values}), path)
    wanted = [value.encode() if isinstance(value, str) else value for value in values]
    assert read_dataset(path, config).inputs["x"].tolist() == wanted


def test_csv_gives_what_parquet_gives(mixed, tmp_path):
    written = sample_applicants(50, seed=1)
    write_dataset(tmp_path / "rows.parquet", written, mixed)
    table = pq.read_table(tmp_path / "rows.parquet")
    pacsv.write_csv(table, tmp_path / "rows.csv")
    read = read_dataset(tmp_path / "rows.csv", mixed)
    for name, array in written.inputs.items():
        assert read.inputs[name].dtype == array.dtype
        np.testing.assert_array_equal(read.inputs[name], array)
    np.testing.assert_array_equal(read.y_true, written.y_true)
    np.testing.assert_array_equal(read.sensitive["sex"], written.sensitive["sex"])


def test_an_input_may_have_a_column_per_element(tmp_path):
    path = tmp_path / "rows.csv"
    names = [f'"image[{row},{column}]"' for row in range(2) for column in range(3)]
    path.write_text(",".join(names) + "\n1,2,3,4,5,6\n")
    read = read_dataset(path, config_of(IMAGE)).inputs["image"]
    assert read.tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_other_columns_are_what_they_are_said_to_be(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b,when,right,sex\n1,2,1970-01-02,yes,007\n3,,1970-01-01,no,\n")
    columns = DataColumns("when", "right", ("sex",))
    read = read_dataset(path, config_of(TABLE), columns)
    np.testing.assert_array_equal(read.inputs["t"], np.array([[1, 2], [3, np.nan]], np.float32))
    assert read.time.tolist() == [86400.0, 0.0]
    assert read.y_true.tolist() == ["yes", "no"]
    assert read.sensitive["sex"].tolist() == ["007", None]
    assert read.take(np.array([1])).time.tolist() == [0.0]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (DataColumns(time="when"), "no column 'when'; it has a, b"),
        (DataColumns(label="right"), "no column 'right'; it has a, b"),
        (DataColumns(sensitive=("sex",)), "no column 'sex'; it has a, b"),
    ],
)
def test_a_column_that_was_named_must_be_there(tmp_path, columns, told):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match=told):
        read_dataset(path, config_of(TABLE), columns)


def test_a_missing_whole_number_is_told_and_a_missing_text_is_empty(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("i,s\n1,a\n,\n")
    text = {"name": "s", "datatype": "BYTES", "shape": [-1]}
    assert read_dataset(path, config_of(text)).inputs["s"].tolist() == [b"a", b""]
    with pytest.raises(ConfigError, match="column 'i' has 1 missing values, which int64 cannot"):
        read_dataset(path, config_of({"name": "i", "datatype": "INT64", "shape": [-1]}))
