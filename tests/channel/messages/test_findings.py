"""Findings as clients read them: a contract of names and order."""

from __future__ import annotations

import msgspec

from serving.channel.messages.findings import FindingRecord, FindingsChanged, ModelFindings

FOUND = FindingRecord(
    version="1",
    monitor="drift",
    metric="psi",
    subject="income",
    value=None,
    threshold=0.05,
    direction="above",
    breached=None,
    reason="why",
    n_reference=100,
    n_current=10,
    window=(0.0, 1.0),
    age_s=2.5,
    p_value=None,
    ci=(0.1, None),
    severity="info",
    segment="",
    window_id="",
)


def test_of_a_named_model_no_finding_repeats_the_name() -> None:
    assert msgspec.json.encode(ModelFindings("m", (FOUND,), ("note",))) == (
        b'{"model":"m","findings":[{"version":"1","monitor":"drift","metric":"psi",'
        b'"subject":"income","value":null,"threshold":0.05,"direction":"above","breached":null,'
        b'"reason":"why","n_reference":100,"n_current":10,"window":[0.0,1.0],"age_s":2.5,'
        b'"p_value":null,"ci":[0.1,null],"severity":"info","segment":"","window_id":""}],'
        b'"notes":["note"]}'
    )


def test_the_hub_is_told_of_which_model_each_is() -> None:
    sent = FindingsChanged((msgspec.structs.replace(FOUND, model="m"), FOUND))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=FindingsChanged) == sent
    assert msgspec.json.encode(sent.findings[0]).startswith(b'{"model":"m","version":"1"')
