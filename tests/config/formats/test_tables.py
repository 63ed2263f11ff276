from dataclasses import replace

from serving.config.formats import listed
from serving.config.formats.descriptor import Guide
from serving.config.formats.tables import formats_table, signatures_table

NEW = replace(
    listed.format_named("onnx"),
    name="new",
    guide=Guide("`model.new`", "none", "no", "the new", "the newer"),
)


def test_a_listed_format_has_its_rows(monkeypatch):
    monkeypatch.setattr(listed, "FORMATS", (NEW, replace(NEW, name="mute", signature=None)))
    head, line, new, mute = formats_table().splitlines()
    assert (head.count("|"), line) == (6, "| --- | --- | --- | --- | --- |")
    assert new == "| `new` | `model.new` | none | no | `kernel_shap` |"
    assert mute.startswith("| `mute` |")
    assert signatures_table().splitlines()[2:] == ["| `new` | the new | the newer |"]


def test_one_with_gradients_is_explained_by_all_methods(monkeypatch):
    monkeypatch.setattr(listed, "FORMATS", (replace(NEW, has_gradients=True),))
    assert formats_table().endswith("| `integrated_gradients`, `kernel_shap` |\n")


def test_a_format_tells_both_sides_or_none():
    for each in listed.FORMATS:
        told = bool(each.guide.inputs), bool(each.guide.outputs)
        assert told == (bool(each.signature),) * 2
