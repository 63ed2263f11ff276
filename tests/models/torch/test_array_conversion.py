"""Arrays to tensors and back: what is shared, what is converted, and what is refused."""

import numpy as np
import pytest
import torch

from serving.config import ConfigError, InputSpec, OutputSpec
from serving.errors import ModelFailed
from serving.models.torch.array_conversion import TORCH_OF, OutputReader, is_dense, to_torch
from serving.protocol.datatypes import NUMPY_OF

NUMBERS = sorted(TORCH_OF)


def taken(datatype, **more):
    given = {"name": "x", "datatype": datatype, "shape": [-1, 2], **more}
    return to_torch(InputSpec.model_validate(given))


def reader(datatype="FP32", shape=(-1, 2)):
    return OutputReader("net", OutputSpec(name="y", datatype=datatype, shape=list(shape)))


def test_every_datatype_but_bytes_has_a_dtype():
    assert set(TORCH_OF) == set(NUMPY_OF) - {"BYTES"}


@pytest.mark.parametrize("datatype", NUMBERS)
def test_every_datatype_goes_through_without_a_copy(datatype):
    array = np.array([[0, 1], [1, 0]], NUMPY_OF[datatype])
    tensor = taken(datatype)(array)
    assert tensor.dtype is TORCH_OF[datatype]
    found = reader(datatype).read(tensor, 2)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    assert np.shares_memory(found, array)


@pytest.mark.parametrize("datatype", ["FP32", "BF16"])
@pytest.mark.parametrize("cut", [np.s_[::-1], np.s_[:, ::2], np.s_[::2, 1:3]])
def test_strides_that_torch_does_not_know(datatype, cut):
    array = np.arange(16, dtype=NUMPY_OF[datatype]).reshape(4, 4)[cut]
    tensor = taken(datatype)(array)
    found = reader(datatype, (-1, -1)).read(tensor, len(array))
    np.testing.assert_array_equal(found, array)


def test_what_is_read_only_warns_of_nothing():
    array = np.zeros((1, 2), np.float32)
    array.setflags(write=False)
    assert taken("FP32")(array).shape == (1, 2)  # warnings are errors here


CATEGORIES = [{"name": "a", "categories": ["no", "ü"]}, {"name": "b", "categories": ["no"]}]


def test_text_becomes_the_place_of_its_category():
    encode = taken("BYTES", features=CATEGORIES)
    given = np.array([["ü".encode(), b"no"], [b"", b"no"], [b"\xff", "ü".encode()]], object)
    found = encode(given)
    assert found.dtype is torch.int64
    assert found.tolist() == [[1, 0], [-1, 0], [-1, -1]]
    assert encode(given[:0]).shape == (0, 2)


@pytest.mark.parametrize("features", [None, [CATEGORIES[0], {"name": "b"}]])
def test_text_without_categories_is_refused(features):
    with pytest.raises(ConfigError, match="input 'x': BYTES needs `features` with `categories`"):
        taken("BYTES", features=features)


@pytest.mark.parametrize(
    ("tensor", "dense"),
    [
        (torch.ones(2, 2), True),
        (torch.ones(2, 2).t(), True),
        (torch.eye(2).to_sparse(), False),
    ],
    ids=["whole", "transposed", "sparse"],
)
def test_dense(tensor, dense):
    assert is_dense(tensor) is dense


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_a_nested_tensor_is_not_dense():
    nested = torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])
    assert nested.layout is torch.strided
    assert not is_dense(nested)


def test_an_output_of_text_is_refused():
    with pytest.raises(ConfigError, match="output 'y': torch cannot produce BYTES"):
        reader("BYTES")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([1.0], "is a list, not a tensor"),
        (None, "is a NoneType, not a tensor"),
        (torch.eye(2).to_sparse(), "is a sparse or nested tensor; return what its to_dense()"),
        (torch.ones(2, 2).double(), "has torch.float64, model.yaml declares FP32"),
        (torch.ones(3, 2), "has shape [3, 2] for 2 rows, model.yaml declares [-1, 2]"),
        (torch.ones(2, 3), "has shape [2, 3] for 2 rows, model.yaml declares [-1, 2]"),
        (torch.ones(2), "has shape [2] for 2 rows, model.yaml declares [-1, 2]"),
        (torch.ones(()), "has shape [] for 2 rows, model.yaml declares [-1, 2]"),
        (torch.ones(2, 2, 1), "has shape [2, 2, 1] for 2 rows, model.yaml declares [-1, 2]"),
    ],
)
def test_an_output_that_is_not_what_was_declared(value, says):
    with pytest.raises(ModelFailed) as caught:
        reader().read(value, 2)
    assert caught.value.message.startswith(f"model 'net' failed: output 'y' {says}")


@pytest.mark.parametrize("shape", [(2, 0, 4), (2, 9, 4)])
def test_free_axes_take_any_size(shape):
    assert reader(shape=(-1, -1, 4)).read(torch.ones(shape), 2).shape == shape
    with pytest.raises(ModelFailed, match="has shape"):
        reader(shape=(-1, -1, 5)).read(torch.ones(shape), 2)


def test_a_negation_that_torch_only_noted_is_computed():
    negated = torch.complex(torch.ones(2, 2), torch.ones(2, 2)).conj().imag
    assert negated.is_neg()
    assert reader().read(negated, 2).tolist() == [[-1, -1]] * 2
