"""Findings as clients read them: a contract of names and order."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from serving.channel.messages.findings import FindingRecord, FindingsChanged, ModelFindings


@pytest.fixture
def unnamed(make_finding: Callable[..., FindingRecord]) -> FindingRecord:
    """A finding that does not say of which model it is, and has no verdict."""
    return make_finding(
        model="", subject="income", value=None, breached=None, reason="why", age_s=2.5,
        ci=(0.1, None),
    )  # fmt: skip


def test_of_a_named_model_no_finding_repeats_the_name(unnamed: FindingRecord) -> None:
    assert msgspec.json.encode(ModelFindings("m", (unnamed,), ("note",))) == (
        b'{"model":"m","findings":[{"version":"1","monitor":"drift","metric":"psi",'
        b'"subject":"income","value":null,"threshold":0.05,"direction":"above","breached":null,'
        b'"reason":"why","n_reference":100,"n_current":10,"window":[0.0,1.0],"age_s":2.5,'
        b'"p_value":null,"ci":[0.1,null],"severity":"info","segment":"","window_id":""}],'
        b'"notes":["note"]}'
    )


def test_the_hub_is_told_of_which_model_each_is(unnamed: FindingRecord) -> None:
    sent = FindingsChanged((msgspec.structs.replace(unnamed, model="m"), unnamed))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=FindingsChanged) == sent
    assert msgspec.json.encode(sent.findings[0]).startswith(b'{"model":"m","version":"1"')
