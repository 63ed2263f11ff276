import logging
import re
from pathlib import Path

from serving.monitoring.set_aside import set_aside


def test_it_is_kept_under_another_name_and_logged(tmp_path: Path, caplog):
    path = tmp_path / "monitor.json"
    kept = []
    for content in (b"one", b"two"):  # within one second
        path.write_bytes(content)
        kept.append(set_aside(path, "it is damaged"))
    assert [each.read_bytes() for each in kept] == [b"one", b"two"]
    pattern = r"monitor\.json\.\d{8}T\d{6}Z(-\d)?\.unreadable"
    assert all(re.fullmatch(pattern, each.name) for each in kept)
    assert not path.exists()
    (record, _) = caplog.records
    assert record.levelno == logging.ERROR
    assert "it is damaged" in record.getMessage()
    assert kept[0].name in record.getMessage()
