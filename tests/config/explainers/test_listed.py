import inspect
from pkgutil import resolve_name

import pytest

from serving.config import Explain
from serving.config.explainers.listed import (
    AUTO,
    EXPLAINERS,
    effort_names,
    explainer_named,
    method_names,
)


def test_names_in_the_list_are_unique():
    names = method_names()
    assert names[0] == AUTO
    assert len(set(names)) == len(names) == len(EXPLAINERS) + 1


@pytest.mark.parametrize("name", method_names()[1:])
def test_what_an_entry_points_at_is_there(name):
    build = resolve_name(explainer_named(name).build)
    assert list(inspect.signature(build).parameters) == ["config", "model"]


def test_what_the_configuration_allows_a_request_may_ask_for():
    for each in EXPLAINERS:
        assert each.effort is not None
        (most,) = (
            rule.le
            for rule in Explain.model_fields[each.effort.name].metadata
            if hasattr(rule, "le")
        )
        assert most == each.effort.most
    assert effort_names() == ["n_steps", "n_samples"]


def test_a_name_that_is_not_listed():
    with pytest.raises(KeyError, match="auto"):
        explainer_named(AUTO)
