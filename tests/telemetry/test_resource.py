"""The resource that tells of an instance."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

from serving.telemetry import resource as module
from serving.telemetry.resource import instance_resource, own_version


def test_a_resource_is_the_instance_and_what_the_environment_adds(monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test,odd")
    attributes = instance_resource().attributes
    assert attributes["service.name"] == "vigil"
    assert attributes["service.version"] == own_version()
    assert attributes["deployment.environment"] == "test"


def test_a_checkout_that_is_not_installed_has_no_version(monkeypatch):
    assert own_version()[0].isdigit()

    def unknown(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", unknown)
    assert own_version() == "unknown"
