"""What the directory says of itself, and that all of it arrives."""

from __future__ import annotations

import msgspec
import pytest

from serving.channel.messages.directory import (
    BrokenModel,
    Directory,
    Inventory,
    Member,
    ServedModel,
)

SERVED = ServedModel("m", "1", b"{}", "/models/m/1", b"[]", "abc")
MEMBERS = (
    Member("replica", "r-0", 1, "unix:/r", "m", "1", 2, ("explain",), "abc"),
    Member("gateway", "g-0", 2),
    Member("replica", "r-1", 3, "unix:/q", "m", "1", 2, (), "abe"),
)


def test_a_revision_is_part_of_what_is_served():
    assert SERVED.key == MEMBERS[0].key == ("m", "1", "abc")
    assert MEMBERS[2].key == ("m", "1", "abe")
    assert MEMBERS[1].key == ("", "", "")


@pytest.mark.parametrize(
    ("version", "sentence"),
    [("", "model 'm': no weights"), ("2", "model 'm' version 2: no weights")],
)
def test_what_is_wrong_with_a_model_names_it(version, sentence):
    assert BrokenModel("m", version, "no weights").sentence == sentence


def test_members_of_a_role_keep_their_order():
    directory = Directory(members=MEMBERS)
    assert [member.id for member in directory.of_role("replica")] == ["r-0", "r-1"]
    assert [member.id for member in directory.of_role("gateway")] == ["g-0"]
    assert directory.of_role("monitor") == []


def test_only_required_models_of_which_nothing_is_served_are_missing():
    broken = (
        BrokenModel("a", "", "odd", True),
        BrokenModel("b", "", "odd", False),
        BrokenModel("m", "2", "version 1 stands in", True),
        BrokenModel("a", "3", "odder", True),
    )
    directory = Directory(models=(SERVED,), broken=broken)
    assert directory.missing == ["model 'a': odd", "model 'a' version 3: odder"]
    # A candidate answers nobody yet.
    tried = Directory(candidates=(SERVED,), broken=broken[2:3])
    assert tried.missing == ["model 'm' version 2: version 1 stands in"]
    assert Directory().missing == []


@pytest.mark.parametrize(
    "message",
    [
        Directory(),
        Directory(
            2**53, (SERVED,), MEMBERS, (SERVED,), broken=(BrokenModel("a", "1", "é\n", True),),
            leaving=True, tells_ends=True,
        ),
        Inventory((SERVED,), (BrokenModel("a", "", "odd"),)),
    ],
)  # fmt: skip
def test_all_of_it_arrives(message):
    encoded = msgspec.msgpack.encode(message)
    assert msgspec.msgpack.decode(encoded, type=type(message)) == message


def test_a_role_that_nobody_has_is_refused():
    encoded = msgspec.msgpack.encode({"role": "zygote", "id": "z", "pid": 1})
    with pytest.raises(msgspec.ValidationError, match="zygote"):
        msgspec.msgpack.decode(encoded, type=Member)
