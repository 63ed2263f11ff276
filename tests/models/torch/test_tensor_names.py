"""Which argument each declared input is, and which result each declared output.

What every torch format makes of it is in `tests/models/test_names.py`.
"""

from pathlib import Path

import pytest
import torch

from serving.config import ConfigError, ModelConfig
from serving.models.named_outputs import OutputMissing
from serving.models.repository.folder import ModelEntry
from serving.models.torch.tensor_names import (
    Arguments,
    OutputsByName,
    Results,
    arguments_of,
    arguments_of_method,
    bind_inputs,
    bind_results,
    bound,
    bound_methods,
    input_names,
    output_names,
    with_inputs,
)

WEIGHTS = "/models/net/1/model.pt2"


def entry_of(inputs="ab", outputs=("y",), sensitive=()) -> ModelEntry:
    def side(names):
        return [{"name": name, "datatype": "FP32", "shape": [-1]} for name in names]

    hidden = [{**spec, "sensitive": True} for spec in side(sensitive)]
    config = ModelConfig.model_validate(
        {"format": "torch_export", "inputs": side(inputs) + hidden, "outputs": side(outputs)}
    )
    return ModelEntry("net", "1", Path("/models/net/1"), config)


def told(*names, required=None, by_position=None, **more) -> Arguments:
    return Arguments(
        names,
        frozenset(names if required is None else required),
        len(names) if by_position is None else by_position,
        **more,
    )


# -- what a function takes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda: 0, told()),
        (lambda a, b: 0, told("a", "b")),
        (lambda a, /, b=None: 0, told("a", "b", required="a")),
        (lambda a, *, b: 0, told("a", "b", by_position=1)),
        (lambda *a: 0, told(are_told=False, takes_more=True)),
        (lambda a, *b, c=0: 0, told("a", "c", required="a", by_position=1, are_told=False,
                                    takes_more=True)),
        (lambda a, **b: 0, told("a", takes_any=True)),
    ],
)  # fmt: skip
def test_arguments_of_a_function(forward, expected):
    assert arguments_of(forward) == expected


@pytest.mark.parametrize("forward", [7, type("Odd", (), {"__signature__": 7, "__call__": id})()])
def test_what_has_no_signature_takes_any_number_without_names(forward):
    assert arguments_of(forward) == told(are_told=False, takes_more=True)


class PassesOn(torch.nn.Module):
    def forward(self, b, a):
        return a - b

    def forward_with_features(self, *inputs):
        return self.forward(*inputs), inputs[0]


class Wrapped(torch.nn.Module):
    def forward(self, *inputs):
        return self.forward_with_features(*inputs)[0]

    def forward_with_features(self, b, a):
        return a - b, b


class OnlyPlaces(torch.nn.Module):
    def forward(self, *inputs):
        return inputs[0]


@pytest.mark.parametrize("module", [PassesOn(), Wrapped()])
@pytest.mark.parametrize("method", ["forward", "forward_with_features"])
def test_a_method_that_passes_on_has_the_names_of_the_other(module, method):
    assert arguments_of_method(module, method) == told("b", "a")


@pytest.mark.parametrize("method", ["forward", "forward_with_features"])
def test_methods_of_which_none_has_names(method):
    assert arguments_of_method(OnlyPlaces(), method) == told(are_told=False, takes_more=True)


def test_names_of_a_model_leave_sensitive_inputs_out():
    entry = entry_of("ba", ["z", "y"], sensitive=["sex"])
    assert input_names(entry) == ("b", "a")
    assert output_names(entry) == ("z", "y")


# -- inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "taken", "expected"),
    [
        ("ab", told("a", "b"), ("a", "b")),
        ("ba", told("a", "b"), ("b", "a")),
        ("x", told("a"), ("a",)),
        ("x", told("a", "b", required="a"), ("a",)),
        ("b", told("a", "b", required=()), ("b",)),
        ("xy", told("a", "b", are_told=False), ("a", "b")),
        ("xy", told(are_told=False, takes_more=True), None),
        ("abx", told("a", "b", are_told=False, takes_more=True), None),
        ("ba", told("a", takes_any=True), ("b", "a")),
        ("x", told(takes_any=True), None),
    ],
)
def test_inputs_are_bound(declared, taken, expected):
    assert bind_inputs(entry_of(declared), taken) == expected


@pytest.mark.parametrize(
    ("declared", "taken", "says"),
    [
        ("a", told("a", "b"), ("it takes 2 inputs, model.yaml declares 1 that are not sensitive; "
         "it takes 'a', 'b'")),
        ("abc", told("a", "b", required="a"), ("it takes 1 to 2 inputs, model.yaml declares 3 that "
         "are not sensitive; it takes 'a', 'b'")),
        ("ax", told("a", "b"), ("it takes the inputs 'a', 'b', model.yaml declares 'a', 'x'; give "
         "them the names that it takes")),
        ("bx", told("a", "b", are_told=False), ("it takes the inputs 'a', 'b', model.yaml declares "
         "'b', 'x'; give them the names that it takes")),
        ("bc", told("a", "b", "c", required="a"), ("it takes the inputs 'a', 'b', 'c', model.yaml "
         "declares 'b', 'c'; give them the names that it takes")),
        ("xy", told("a", takes_any=True), ("it takes the inputs 'a', model.yaml declares 'x', 'y'; "
         "give them the names that it takes")),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_refused(declared, taken, says):
    with pytest.raises(ConfigError) as caught:
        bind_inputs(entry_of(declared), taken)
    assert caught.value.message == f"{WEIGHTS}: {says}"


def test_a_sensitive_input_is_not_counted():
    assert bind_inputs(entry_of("ab", sensitive=["c"]), told("a", "b")) == ("a", "b")


def minus(a, b):
    return a - b


@pytest.mark.parametrize("forward", [minus, lambda *inputs: minus(*inputs)])
def test_a_function_whose_order_is_declared_is_not_wrapped(forward):
    assert with_inputs(entry_of("ab"), forward, arguments_of(forward)) is forward


@pytest.mark.parametrize(
    "forward",
    [minus, lambda a, /, b: a - b, lambda a, *, b: a - b, lambda a, **more: a - more["b"],
     lambda a, b, /: a - b],
)  # fmt: skip
def test_inputs_in_another_order_reach_their_argument(forward):
    assert with_inputs(entry_of("ba"), forward, arguments_of(forward))(1, 10) == 9


def test_arguments_between_keep_their_default():
    def forward(a, b=100, c=1000):
        return a + b + c

    assert with_inputs(entry_of("ca"), forward, arguments_of(forward))(2, 1) == 103


# -- results --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "found", "expected"),
    [
        (["end", "start"], Results(("start", "end"), True), ([1, 0], None)),
        (["end"], Results(("start", "end"), True), ([1], None)),
        (["y"], Results(("features", "y"), True, 0), ([1], 0)),
        (["y", "features"], Results(("features", "y"), True, 0), ([1, 0], None)),
        (["p", "q"], Results(("0", "1"), False), ([0, 1], None)),
        (["p", "q"], Results(("0", "1", "2"), False), ([0, 1], 2)),
        (["1", "0"], Results(("0", "1"), False), ([1, 0], None)),
        # The result that would have been the features is declared by its placeholder.
        (["1"], Results(("0", "1"), False), ([1], None)),
    ],
)
def test_results_are_bound(outputs, found, expected):
    assert bind_results(entry_of(outputs=outputs), found, told("a", "b")) == expected


@pytest.mark.parametrize(
    ("outputs", "found", "says"),
    [
        (["y", "z"], Results(("y", "features"), True, 1), ("it returns 'y', model.yaml declares "
         "the outputs 'y', 'z'; give them the names that it returns")),
        # Declared, `features` are an output like others.
        (["features", "z"], Results(("features", "y"), True, 0),
         ("it returns 'features', 'y', model.yaml declares the "
          "outputs 'features', 'z'; give them the names that it returns")),
        (["1", "x"], Results(("0", "1"), False), ("it returns '0', '1', model.yaml declares the "
         "outputs '1', 'x'; give them the names that it returns")),
        (["y"], Results(("0", "1", "2"), False, None, "tensors"), ("it returns 3 tensors, "
         "model.yaml declares 1 outputs; one more than declared are the features")),
        (["y", "z"], Results(("0",), False), ("it returns 1 results, model.yaml declares 2 "
         "outputs; one more than declared are the features")),
        (["b", "a"], Results(("0", "1"), False), ("it takes 'a', 'b' and returns results without "
         "names, and model.yaml lists outputs of these names in another order; list them in that "
         "order, or return a dict")),
    ],
)  # fmt: skip
def test_results_that_do_not_fit_are_refused(outputs, found, says):
    with pytest.raises(ConfigError) as caught:
        bind_results(entry_of(outputs=outputs), found, told("a", "b"))
    assert caught.value.message == f"{WEIGHTS}: {says}"


def test_outputs_are_taken_in_the_declared_order():
    outputs = OutputsByName(entry_of(outputs=["end", "start"]), told("start", "end"))
    assert outputs({"start": 1, "end": 2, "more": 3}) == (2, 1)
    tensor = torch.ones(1)
    assert outputs(tensor) is tensor


def test_a_result_without_names_is_given_back_unless_the_order_misleads():
    pair = (1, 2)
    assert OutputsByName(entry_of(outputs=["a", "b"]), told("a", "b"))(pair) is pair
    with pytest.raises(OutputMissing, match=r"model 'net' failed: .* in another order") as caught:
        OutputsByName(entry_of(outputs=["b", "a"]), told("a", "b"))(pair)
    assert caught.value.cause is None


def test_the_first_missing_output_is_named():
    with pytest.raises(OutputMissing, match=r"it returned 'y', model.yaml declares 'p'"):
        OutputsByName(entry_of(outputs=["y", "p", "q"]), told("a"))({"y": 1})


def test_a_bound_function_takes_and_returns_what_is_declared():
    def forward(a, b):
        return {"difference": a - b, "a": a}

    run = bound(entry_of("ba", ["a", "difference"]), forward, arguments_of(forward))
    assert run(1, 10) == (10, 9)
    one = torch.ones(1)
    assert bound(entry_of("a"), lambda a: a, told("a"))(one) is one


class Featured(torch.nn.Module):
    def forward(self, a, b):
        return {"y": a - b}

    def forward_with_features(self, b, a):
        return ({"y": a - b}, b) if b else a


def test_both_methods_are_bound_each_by_its_own_arguments():
    forward, featured = bound_methods(entry_of("ba"), Featured())
    assert forward(1, 10) == (9,)
    assert featured is not None
    assert featured(1, 10) == ((9,), 1)
    assert featured(0, 10) == 10  # no pair: as it came
    assert bound_methods(entry_of("ab"), OnlyPlaces())[1] is None
