import io

import pytest

from serving.cli.label_files.lines import LONGEST, Lines
from serving.cli.label_files.rows import WrongFile


def test_lines_are_counted_and_keep_their_ends() -> None:
    lines = Lines("f", io.BytesIO("\ufeffa\r\n\ufeffé\nb".encode()))
    assert list(lines) == ["a\r\n", "\ufeffé\n", "b"]
    assert (lines.number, lines.read) == (3, 13)


@pytest.mark.parametrize("line", [b"\xff\xfei\x00d\x00\n", b"\xe9,1\n", b"PAR1\x80"])
def test_a_line_in_another_encoding_is_named(line: bytes) -> None:
    lines = iter(Lines("f", io.BytesIO(b"id,y_true\n" + line)))
    assert next(lines) == "id,y_true\n"
    with pytest.raises(WrongFile, match=r"^f, line 2 is not UTF-8"):
        next(lines)


def test_what_has_no_line_ends_is_not_read_whole() -> None:
    stream = io.BytesIO(bytes(10 * LONGEST))
    with pytest.raises(WrongFile, match=r"^f, line 1 is longer than 256 KiB"):
        list(Lines("f", stream))
    assert stream.tell() == LONGEST + 1


def test_the_longest_line_is_read() -> None:
    assert len(next(iter(Lines("f", io.BytesIO(b"a" * (LONGEST - 1) + b"\n"))))) == LONGEST


def test_a_file_that_breaks_off_is_named() -> None:
    class Broken(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise OSError(5, "Input/output error")
            return super().readline(size)

    with pytest.raises(WrongFile, match=r"^f: Input/output error after line 1$"):
        list(Lines("f", Broken(b"a\nb\n")))
