import pytest

from serving.errors import InvalidInput, Unsupported
from serving.protocol.parameters import checked_parameters


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"triton_x": 1}, "reserved"),
        ({"triton_final_responses": True}, "reserved"),
        ({"vigil_flags": "x"}, "reserved"),
        ({"triton_enable_empty_final_response": 1}, "must be true or false"),
        ({"sequence_start": 1}, "'sequence_start' must be true or false"),
        ({"sequence_end": "no"}, "'sequence_end' must be true or false"),
        ({"sequence_id": True}, "'sequence_id' must be an integer of 0 or more or a string"),
        ({"sequence_id": -1}, "'sequence_id' must be"),
        ({"timeout": -1}, "'timeout' must be an integer of 0 or more"),
        ({"timeout": "soon"}, "'timeout' must be an integer"),
        ({"timeout": 1.5}, "'timeout' must be an integer"),
        ({"priority": True}, "'priority' must be an integer"),
        ({"binary_data_output": 1}, "must be true or false"),
        ({"content_type": 1}, "must be a string"),
        ({"other": 2**64}, "64 bits"),
        ({"other": -(2**63) - 1}, "64 bits"),
    ],
)
def test_refused(parameters, words):
    with pytest.raises(InvalidInput, match=words):
        checked_parameters(parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"triton_enable_empty_final_response": True},
        {"triton_enable_empty_final_response": False, "triton_final_response": True},
        {"sequence_id": 7, "sequence_start": True, "sequence_end": False},
        {"sequence_id": "e333c95a", "priority": 0, "timeout": 0, "headers": "x"},
        {"binary_data_output": False, "binary_data": True, "classification": 2, "mine": 0.5},
    ],
)
def test_what_triton_documents_is_accepted(parameters):
    assert checked_parameters(parameters) == parameters


def test_shared_memory_is_not_offered():
    with pytest.raises(Unsupported, match="shared memory"):
        checked_parameters({"shared_memory_region": "r"})


def test_null_counts_as_absent():
    assert checked_parameters({"a": None, "timeout": None, "b": 1}) == {"b": 1}
    assert checked_parameters({"a": None}) is None
    assert checked_parameters({}) is None
    assert checked_parameters(None) is None
