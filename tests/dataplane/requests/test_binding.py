"""Does a request fit the model? Every way in which it may not gets its own sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving.dataplane.requests.binding import Binder
from serving.dataplane.requests.bound import Bound
from serving.errors import InvalidInput
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.messages import InferRequest, RequestedOutput, Tensor


def tensor(
    name: str = "x", datatype: str = "FP32", shape: Any = (1, 2), data: Any = None
) -> Tensor:
    if data is None:
        data = np.zeros(shape, NUMPY_OF[datatype])
    return Tensor(name, datatype, tuple(shape), data)


def request(*inputs: Tensor, outputs: Any = (), **parameters: Any) -> InferRequest:
    wanted = tuple(RequestedOutput(name) for name in outputs)
    return InferRequest("m", "", "id", inputs, wanted, parameters or None)


@pytest.fixture
def bind(make_config: Callable[..., Any]) -> Callable[[InferRequest], Bound]:
    return Binder("m", make_config()).bind


TWO = [
    {"name": "a", "datatype": "FP32", "shape": [-1, 2]},
    {"name": "b", "datatype": "INT64", "shape": [-1, -1]},
    {"name": "sex", "datatype": "BYTES", "shape": [-1, 1], "sensitive": True},
]
FAIR = {
    "inputs": TWO,
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}],
    "fairness": {"sensitive": ["sex", "age"], "favorable": "yes"},
}


@pytest.fixture
def bind_two(make_config: Callable[..., Any]) -> Callable[[InferRequest], Bound]:
    return Binder("m", make_config(**FAIR)).bind


def test_one_input_is_bound_without_a_copy(bind: Any) -> None:
    sent = tensor(shape=(3, 2))
    bound = bind(request(sent))
    assert bound.arrays[0] is sent.data
    assert (bound.rows, bound.key, bound.outputs) == (3, ((2,),), ())
    assert bound.sensitive is None


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([], "input 'x' of model 'm' is missing"),
        ([tensor("z")], "unexpected input 'z'.*it has x"),
        ([tensor(), tensor("z")], "unexpected input 'z'"),
        ([tensor(), tensor()], "twice"),
        ([tensor(datatype="FP64")], "is FP32, not FP64"),
        ([tensor(shape=(1, 3))], r"has shape \[-1, 2\], not \[1, 3\]"),
        ([tensor(shape=(2,))], "shape"),
        ([tensor(shape=(1, 2, 1))], "shape"),
        ([tensor(shape=())], "shape"),
    ],
)
def test_inputs_that_do_not_fit(bind: Any, inputs: list[Tensor], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        bind(request(*inputs))


def test_an_endless_name_is_cut_in_the_message(bind: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        bind(request(tensor("n" * 10_000)))
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("outputs", "words"), [(["q"], "unexpected output 'q'.*it has y"), (["y", "y"], "twice")]
)
def test_outputs_that_are_not_there(bind: Any, outputs: list[str], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        bind(request(tensor(), outputs=outputs))


def test_wanted_outputs_are_kept_in_the_client_s_order(make_config: Any) -> None:
    outputs = [{"name": n, "datatype": "FP32", "shape": [-1]} for n in ("a", "b", "c")]
    bound = Binder("m", make_config(outputs=outputs)).bind(request(tensor(), outputs=["c", "a"]))
    assert bound.outputs == ("c", "a")


def test_several_inputs_come_in_the_model_s_order(bind_two: Any) -> None:
    a, b = tensor("a", shape=(2, 2)), tensor("b", "INT64", (2, 7))
    bound = bind_two(request(b, a))
    assert bound.arrays[0] is a.data
    assert bound.arrays[1] is b.data
    assert bound.key == ((2,), (7,))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([tensor("a")], "'b' of model 'm' is missing"),
        ([tensor("a"), tensor("b", "INT64", (2, 3))], "inputs differ in rows"),
        ([tensor("a"), tensor("b", "INT64", (1, 3)), tensor("c")], "unexpected input 'c'"),
        (
            [tensor("a"), tensor("b", "INT64", (1, 3)), tensor("sex", "BYTES", (2, 1))],
            "one value per row",
        ),
    ],
)
def test_several_inputs_that_do_not_fit(bind_two: Any, inputs: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        bind_two(request(*inputs))


def test_sensitive_values_never_reach_the_model(bind_two: Any) -> None:
    sex = np.array([[b"f"], [b"\xff"]], object)
    bound = bind_two(
        request(
            tensor("a", shape=(2, 2)),
            tensor("b", "INT64", (2, 1)),
            tensor("sex", "BYTES", (2, 1), sex),
            sensitive_features='{"age": [30, null]}',
        )
    )
    assert len(bound.arrays) == 2
    assert bound.sensitive is not None
    assert bound.sensitive["sex"].tolist() == ["f", "�"]
    assert bound.sensitive["age"].tolist() == ["30", None]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{", "JSON object as text"),
        ("[]", "JSON object as text"),
        ('{"age": 3}', "JSON object as text"),
        ('{"age": [1, 2]}', "one value per row"),
        ('{"shoe": [1]}', "'shoe' is not declared"),
        ("[" * 100_000, "JSON object as text"),
        (7, "JSON object as text"),
    ],
)
def test_wrong_sensitive_features(bind_two: Any, given: Any, words: str) -> None:
    inputs = [tensor("a"), tensor("b", "INT64", (1, 1))]
    with pytest.raises(InvalidInput, match=words):
        bind_two(request(*inputs, sensitive_features=given))


@pytest.mark.parametrize("shape", [(0, 2), (0,), (3, 0)])
def test_tensors_without_elements_fit_where_the_shape_is_free(
    make_config: Callable[..., Any], shape: tuple[int, ...]
) -> None:
    free = [-1] * len(shape)
    config = make_config(inputs=[{"name": "x", "datatype": "FP32", "shape": free}])
    assert Binder("m", config).bind(request(tensor(shape=shape))).rows == shape[0]


ROWLESS = [
    {"name": "t", "datatype": "FP32", "shape": []},
    {"name": "x", "datatype": "FP32", "shape": [-1, 2]},
    {"name": "w", "datatype": "BYTES", "shape": [2]},
]


def rowless(t: float = 1, rows: int = 3, words: Any = (b"a", b"b")) -> InferRequest:
    words = np.array(words, object)
    return request(
        tensor("w", "BYTES", (2,), words),
        tensor("t", shape=(), data=np.array(t, np.float32)),
        tensor("x", shape=(rows, 2)),
    )


def test_a_value_without_rows_is_repeated_and_part_of_the_key(
    make_config: Callable[..., Any],
) -> None:
    bind = Binder("m", make_config(inputs=ROWLESS)).bind
    bound = bind(rowless())
    assert [array.shape for array in bound.arrays] == [(3,), (3, 2), (3, 2)]
    assert (bound.rows, bound.alone) == (3, False)
    assert bound.key == bind(rowless(rows=7)).key
    others = [rowless(t=2), rowless(t=-1), rowless(words=(b"ab", b"")), rowless(words=(b"b", b"a"))]
    assert bound.key not in [bind(other).key for other in others]
    assert bind(rowless(t=np.nan)).key == bind(rowless(t=np.nan)).key
    as_one = tensor("t", shape=(1,), data=np.ones(1, np.float32))
    sent = rowless()
    sent = request(sent.inputs[0], as_one, sent.inputs[2])
    assert bind(sent).key == bound.key


@pytest.mark.parametrize("batching", [{"join": False}, {"row_axis": False}])
def test_what_belongs_together_goes_alone(
    make_config: Callable[..., Any], batching: dict[str, bool]
) -> None:
    bound = Binder("m", make_config(batching=batching)).bind
    sent = request(tensor(shape=(3, 2) if "join" in batching else (2,)))
    assert bound(sent).alone
    assert bound(sent).rows == (3 if "join" in batching else 1)


# -- what fits of a request that is refused ---------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "rows", "names", "sensitive"),
    [
        ((tensor("a", shape=(2, 2)), tensor("b", "INT64", (2, 9))), 2, ["a", "b"], []),
        ((tensor("b", "INT64", (2, 9)), tensor("a", shape=(2, 2)), tensor("c")), 2, ["a", "b"], []),
        ((tensor("a", shape=(2, 3)), tensor("b", "INT64", (2, 9))), 2, ["b"], []),
        ((tensor("a", "FP64", (2, 2)), tensor("b", "INT64", (2, 9))), 2, ["b"], []),
        ((tensor("a"), tensor("a"), tensor("b", "INT64", (1, 9))), 1, ["b"], []),
        ((tensor("a"),), 1, ["a"], []),
        ((tensor("a", shape=(2, 2)), tensor("b", "INT64", (3, 9))), None, [], []),
        ((tensor("a", shape=(0, 2)),), None, [], []),
        ((tensor("a", shape=(5000, 2)),), None, [], []),  # no request may have so many
        ((tensor("c"),), None, [], []),
        ((), None, [], []),
        ((tensor("a"), tensor("sex", "BYTES", (1, 1), np.array([[b"f"]], object))), 1, ["a"],
         ["sex"]),
        ((tensor("a"), tensor("sex", "BYTES", (2, 1), np.array([[b"f"]] * 2, object))), 1, ["a"],
         []),
        ((tensor("sex", "BYTES", (1, 1), np.array([[b"f"]], object)),), None, [], []),
    ],
)  # fmt: skip
def test_what_fits_of_a_request(
    make_config: Callable[..., Any], inputs: Any, rows: Any, names: Any, sensitive: Any
) -> None:
    found = Binder("m", make_config(**FAIR)).fitting(request(*inputs))
    if rows is None:
        assert found is None
        return
    assert found is not None
    assert (found.rows, list(found.inputs), list(found.sensitive or ())) == (
        rows, names, sensitive,
    )  # fmt: skip
    given = {each.name: each.data for each in inputs}
    assert all(array is given[name] for name, array in found.inputs.items())


@pytest.mark.parametrize(
    ("given", "expected"), [('{"age": [30]}', ["30"]), ('{"age": [1, 2]}', None), ("{", None)]
)
def test_sensitive_features_fit_or_are_left_out(
    make_config: Callable[..., Any], given: str, expected: Any
) -> None:
    binder = Binder("m", make_config(**FAIR))
    found = binder.fitting(request(tensor("a"), sensitive_features=given))
    assert found is not None
    assert (found.sensitive and found.sensitive["age"].tolist()) == expected


def test_what_fits_has_rows_as_the_model_sees_them(make_config: Callable[..., Any]) -> None:
    sent = rowless()
    wrong = request(*sent.inputs, tensor("more"))
    found = Binder("m", make_config(inputs=ROWLESS)).fitting(wrong)
    assert found is not None
    assert {name: array.shape for name, array in found.inputs.items()} == {
        "t": (3,), "x": (3, 2), "w": (3, 2),
    }  # fmt: skip
    alone = request(sent.inputs[0], sent.inputs[1])  # nothing says how many rows
    assert Binder("m", make_config(inputs=ROWLESS)).fitting(alone) is None
    one = Binder("m", make_config(batching={"row_axis": False}))
    found = one.fitting(request(tensor(shape=(2,)), tensor("more")))
    assert found is not None
    assert (found.rows, found.inputs["x"].shape) == (1, (1, 2))
