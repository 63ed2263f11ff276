import struct
import zipfile
from contextlib import suppress

import pytest

from serving.config import ConfigError
from serving.models.formats.bounded_zip import MOST_INDEX, MOST_MEMBER, read_member


def is_a(name):
    return name.endswith("a")


def write(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("size", [0, 5, (3 << 20) + 1])
def test_reads_the_one_member(tmp_path, size):
    path = write(tmp_path / "z", [("a", b"x" * size), ("b", b"other")])
    assert read_member(path, is_a, "archive") == b"x" * size


@pytest.mark.parametrize("members", [[], [("b", b"")], [("1/a", b""), ("2/a", b"")]])
def test_none_or_several_are_refused(tmp_path, members):
    path = write(tmp_path / "z", members)
    with pytest.raises(ConfigError, match="is no archive of ours"):
        read_member(path, is_a, "archive of ours")


def test_a_bomb_is_not_unpacked(tmp_path):
    content = b"\0" * (MOST_MEMBER + 1)
    path = write(tmp_path / "z", [("a", content)], zipfile.ZIP_DEFLATED)
    with pytest.raises(ConfigError, match="its description has more than 64 MiB"):
        read_member(path, is_a, "archive")


def test_a_member_that_is_larger_than_it_says_ends_there(tmp_path):
    path = write(tmp_path / "z", [("a", b"x" * 4096)], zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, 10)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is no archive: Bad CRC"):
        read_member(path, is_a, "archive")


def test_a_large_index_is_not_read(tmp_path):
    path = tmp_path / "z"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, MOST_INDEX + 1, 0, 0)
    with path.open("wb") as file:
        file.truncate(MOST_INDEX + 1)
        file.seek(MOST_INDEX + 1)
        file.write(end)
    with pytest.raises(ConfigError, match="its index is too large"):
        read_member(path, is_a, "archive")


def test_every_cut_and_every_broken_byte_is_a_sentence_or_harmless(tmp_path):
    whole = write(tmp_path / "z", [("a", b"x" * 50)], zipfile.ZIP_DEFLATED).read_bytes()
    path = tmp_path / "broken"
    for place in range(len(whole)):
        for broken in (whole[:place], whole[:place] + b"\xff" + whole[place + 1 :]):
            path.write_bytes(broken)
            with suppress(ConfigError):
                read_member(path, is_a, "archive")


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_member(tmp_path / "z", is_a, "archive")
