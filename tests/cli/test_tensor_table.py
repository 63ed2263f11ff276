import io

import numpy as np
from rich.console import Console

from serving.cli.tensor_table import tensor_table
from serving.protocol.datatypes import NUMPY_OF, fp32_to_bf16
from serving.protocol.messages import Tensor


def shown(*tensors: Tensor) -> list[list[str]]:
    """The cells of every line, the head first."""
    out = io.StringIO()
    Console(file=out, width=300).print(tensor_table(tensors))
    lines = [line for line in out.getvalue().splitlines() if "│" in line or "┃" in line]
    return [
        [cell.strip() for cell in line.replace("┃", "│").strip("│").split("│")] for line in lines
    ]


def of(name: str, datatype: str, values: object) -> Tensor:
    data = np.array(values, NUMPY_OF[datatype])
    return Tensor(name, datatype, data.shape, data)


def test_a_column_is_a_tensor_and_a_line_is_a_row() -> None:
    scores = of("y", "FP32", [[0.25, 1 / 3], [np.nan, -np.inf]])
    words = of("w", "BYTES", [b"a", "é".encode()])
    assert shown(scores, words) == [
        ["row", "y FP32 [2, 2]", "w BYTES [2]"],
        ["0", "0.25, 0.333333", "a"],
        ["1", "nan, -inf", "é"],
    ]


def test_tensors_of_other_lengths_and_without_axes_or_values() -> None:
    half = Tensor("b", "BF16", (), fp32_to_bf16(np.array(0.5, np.float32)))
    none = of("n", "INT8", np.empty((0, 3)))
    hollow = of("h", "INT8", np.empty((2, 0)))
    flags = of("f", "BOOL", [True, False])
    assert shown(half, none, hollow, flags)[1:] == [
        ["0", "0.5", "", "", "True"],
        ["1", "", "", "", "False"],
    ]
    assert len(shown()) == 1


def test_of_many_values_both_ends_are_shown() -> None:
    (_, row) = shown(of("y", "INT64", [list(range(17))]))
    assert row[1] == "0, 1, 2, 3, 4, 5, 6, 7, …, 9, 10, 11, 12, 13, 14, 15, 16"
    (_, row) = shown(of("y", "INT64", [list(range(16))]))
    assert "…" not in row[1]


def test_nothing_in_it_is_markup_or_obeyed_by_a_terminal() -> None:
    (head, row) = shown(of("[red]x\x1b[2J", "BYTES", [b"[bold]\x1b[2J\xff"]))
    assert head[1] == "[red]x\\x1b[2J BYTES [1]"
    assert row[1] == "[bold]\\x1b[2J\\xff"
