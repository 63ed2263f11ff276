from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from serving.config import ConfigError, ModelConfig
from serving.models.profile.tables import epoch_seconds, read_table

PATH = Path("rows.parquet")
CONFIG = ModelConfig.model_validate(
    {
        "format": "torch_export",
        "inputs": [{"name": "s", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
    }
)


@pytest.mark.parametrize(
    "values",
    [
        ["1970-01-01T00:01:00", "1970-01-01 00:01:01.5"],
        ["1970-01-01T00:01:00Z", "1970-01-01T02:01:01.5+02:00"],
        [60, 61.5],
        [datetime(1970, 1, 1, 0, 1), datetime(1970, 1, 1, 0, 1, 1, 500_000)],
        [datetime(1970, 1, 1, 0, 1, tzinfo=UTC), datetime(1970, 1, 1, 0, 1, 1, 500_000, UTC)],
    ],
)
def test_times_may_be_written_in_many_ways(values):
    assert epoch_seconds(PATH, pa.table({"t": values}), "t").tolist() == [60.0, 61.5]


def test_dates_are_their_midnight():
    table = pa.table({"t": [date(1970, 1, 2)]})
    assert epoch_seconds(PATH, table, "t").tolist() == [86400.0]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["yesterday"], "cannot be read as times"),
        ([[1], [2]], "cannot be read as times"),
        ([1.0, None], "has no time in 1 rows"),
        ([float("inf"), float("nan")], "has no time in 2 rows"),
    ],
)
def test_what_is_no_time_is_told_in_a_sentence(values, told):
    with pytest.raises(ConfigError, match=f"rows.parquet: column 't' {told}"):
        epoch_seconds(PATH, pa.table({"t": values}), "t")


def test_text_in_csv_stays_text(tmp_path):
    path = tmp_path / "rows.CSV"
    path.write_text("s,n,m\n007,007,007\n")
    table = read_table(path, CONFIG, ["m"])
    assert table.to_pylist() == [{"s": "007", "n": 7, "m": "007"}]


@pytest.mark.parametrize("content", [b"", b"s,t\n1\n", None])
def test_what_is_no_csv_is_told_in_a_sentence(tmp_path, content):
    path = tmp_path / "rows.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"rows.csv: not a readable CSV file"):
        read_table(path, CONFIG)
