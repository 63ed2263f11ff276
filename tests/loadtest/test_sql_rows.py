import pytest

from loadtest.log_rows import DAYS, FEATURES, batches, identities, oldest_day, values_of
from loadtest.prediction_log import fill_sql
from loadtest.sql_rows import SqliteRows
from serving.log.layout import day_of


@pytest.fixture
def rows(tmp_path):
    return SqliteRows(tmp_path / "rows.db", FEATURES)


def test_rows_are_written_found_joined_and_deleted(rows):
    written = fill_sql(rows, 1000, 8)
    assert written.rows == rows.count() == 1000
    assert written.size > 1000 * 4 * len(FEATURES)
    ids = identities(1000, 8, 100)
    assert set(values_of(ids[0], 8)) <= set(rows.find(ids[0])[0])
    assert len(rows.join([*ids, "nobody"])) == len(set(ids)) == 100
    rows.delete_day(oldest_day())
    assert rows.count() == pytest.approx(900, abs=8)


def test_batches_are_spread_over_days_oldest_first():
    days = [day_of(given.time) for given in batches(800, 8)]
    assert days == sorted(days)
    assert len(set(days)) == DAYS
