"""When versions were served first, over restarts."""

from __future__ import annotations

import pytest

from serving.channel.messages.incidents import LastDeployment
from serving.config import Incidents
from serving.incidents.deployments import Deployments, Served
from serving.store.records import Deployment

RULES = Incidents(warm_up_s=100)


def served(version, model="m", revision="r", rules=RULES):
    return Served(model, version, revision, rules)


@pytest.fixture
def deployments():
    return Deployments()


def test_each_version_is_new_once(deployments):
    assert [each.version for each in deployments.follow([served("1"), served("2")], 10.0)] == [
        "1", "2",
    ]  # fmt: skip
    assert deployments.follow([served("2")], 20.0) == []
    [again] = deployments.follow([served("2", revision="s")], 30.0)
    assert (again.version, again.revision, again.at) == ("2", "s", 30.0)
    assert deployments.models == {"m"}


def test_what_was_served_before_a_restart_is_not_new(deployments):
    deployments.follow([served("1"), served("2")], 1000.0)
    old = Deployment(model="m", version="1", revision="r", at=10.0)
    assert [each.version for each in deployments.restore([old])] == ["2"]
    assert not deployments.warms_up("m", "1", 1001.0)
    assert deployments.warms_up("m", "2", 1001.0)
    assert not deployments.warms_up("m", "2", 1100.0)
    assert not deployments.warms_up("m", "9", 1001.0)


@pytest.mark.parametrize(
    ("before", "last"),
    [
        (5.0, None),
        (10.0, LastDeployment("1", 10.0)),
        (25.0, LastDeployment("2", 20.0, "1")),
        (99.0, LastDeployment("3", 30.0, "2")),
    ],
)
def test_the_last_one_before_a_time(deployments, before, last):
    for at, version in ((10.0, "1"), (20.0, "2"), (30.0, "3")):
        deployments.follow([served(version)], at)
    assert deployments.last("m", before) == last
    assert deployments.last("other", before) is None


def test_what_came_together_replaced_nothing(deployments):
    deployments.follow([served("1"), served("2")], 10.0)
    assert deployments.last("m", 10.0).before == ""


def test_rules_are_those_of_the_newest_configuration(deployments):
    deployments.follow([served("1"), served("2", rules=Incidents(quiet_windows=9))], 0.0)
    assert deployments.rules("m").quiet_windows == 9
    assert deployments.rules("other") == Incidents()
