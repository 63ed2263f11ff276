"""What is served, tried and retired, and how it is listed; nobody is told of it here."""

from __future__ import annotations

import pytest

from serving.channel.messages.directory import BrokenModel, Inventory, ServedModel
from serving.control.served_state import ServedState


def model(version: str, revision: str = "a", name: str = "m") -> ServedModel:
    return ServedModel(name, version, b"{}", f"/{name}/{version}", revision=revision)


OLD, NEW, TWO = model("1"), model("1", "b"), model("2")


@pytest.fixture
def state() -> ServedState:
    made = ServedState()
    made.begin(Inventory((OLD,), (BrokenModel("n", "", "no YAML", required=True),)))
    return made


def listed(state: ServedState, *folders: str, **unready: str) -> list[tuple[str, str, str, str]]:
    why = {("m", key.removeprefix("v")): reason for key, reason in unready.items()}
    found = state.index(folders, why)
    return [(entry.name, entry.version, entry.state, entry.reason) for entry in found]


def test_what_was_tried_and_works_is_served(state: ServedState) -> None:
    state.candidates = {NEW.key: NEW, TWO.key: TWO}
    state.promote([NEW, TWO], {TWO.key: "no weights"})
    assert list(state.active) == [OLD.key, NEW.key]
    assert not state.candidates
    assert state.reasons["m", "2"] == "no weights"


def test_only_what_is_of_no_use_any_more_goes(state: ServedState) -> None:
    assert state.replaced("m", [OLD], {}) == []
    assert state.replaced("m", [NEW], {}) == [OLD]
    assert state.replaced("m", [TWO], {}) == [OLD]
    assert state.replaced("m", [NEW], {NEW.key: "oh"}) == []
    # One of two fails, and the other one takes the place of its own predecessor alone.
    state.active[TWO.key] = TWO
    fresh = [NEW, model("2", "b")]
    assert state.replaced("m", fresh, {fresh[1].key: "oh"}) == [OLD]
    assert state.replaced("n", fresh, {}) == []


def test_a_signature_is_compared_with_that_of_the_version_in_its_place(state: ServedState) -> None:
    state.active[model("10").key] = model("10")
    assert state.predecessor(NEW) == OLD
    assert state.predecessor(model("3")) == model("10")
    assert state.predecessor(model("1", name="n")) is None


def test_what_retires_is_unloaded_unless_another_revision_of_it_serves(state: ServedState) -> None:
    state.active[NEW.key] = NEW
    state.retire([OLD])
    assert ("m", "1") not in state.reasons
    state.retire([NEW])
    assert state.reasons["m", "1"] == "unloaded"
    assert list(state.retiring) == [OLD.key, NEW.key]
    assert state.broken == (BrokenModel("n", "", "no YAML", required=True),)


def test_every_folder_is_listed_once(state: ServedState) -> None:
    assert listed(state, "m", "n", "o") == [
        ("m", "1", "READY", ""),
        ("n", "", "UNAVAILABLE", "no YAML"),
        ("o", "", "UNAVAILABLE", "unloaded"),
    ]


def test_each_version_is_listed_with_what_is_wrong_with_it(state: ServedState) -> None:
    state.candidates[TWO.key] = TWO
    state.reasons["m", "10"] = "no weights"
    assert [entry[1:] for entry in listed(state) if entry[0] == "m"] == [
        ("1", "READY", ""),
        ("2", "LOADING", ""),
        ("10", "UNAVAILABLE", "no weights"),
    ]
    assert listed(state, v1="no replica yet")[0] == ("m", "1", "UNAVAILABLE", "no replica yet")
    state.reasons["m", ""] = "model.yaml: no YAML"  # as it is now; what serves goes on
    assert listed(state)[0] == ("m", "1", "READY", "model.yaml: no YAML")
    state.forget_reasons("m")
    assert listed(state)[0] == ("m", "1", "READY", "")
    assert state.reasons == {("n", ""): "no YAML"}
