"""What all that an instance sends to a collector is attributed to."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource


def own_version() -> str:
    """Return Vigil's version."""
    try:
        return version("vigil")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def instance_resource() -> Resource:
    """Return the resource that everything of an instance is attributed to.

    What `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say comes first, as everywhere in
    OpenTelemetry.
    """
    # Here, because the version is asked for where nothing is exported, too.
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours = Resource.create({"service.name": "vigil", "service.version": own_version()})
    return ours.merge(OTELResourceDetector().detect())
