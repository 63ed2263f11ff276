"""Every kind of guard that a model can have: the only place that knows them by name.

A new one is a file with a section, a `build` and a descriptor, and an entry here. What
`model.yaml` may hold, what gateways and replicas run, and what `vigil profile` fits go by the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Union

from pydantic import Field

from serving.config.guards import distance, mahalanobis, schema
from serving.config.guards.descriptor import GuardDescriptor
from serving.config.guards.section import GuardSection

GUARDS: Final[tuple[GuardDescriptor, ...]] = (
    schema.DESCRIPTOR,
    mahalanobis.DESCRIPTOR,
    distance.DESCRIPTOR,
)
"""In the order of the configuration reference."""

if TYPE_CHECKING:
    Guard = GuardSection
else:
    Guard = Annotated[
        Union[tuple([each.section for each in GUARDS])],  # noqa: UP007 - made of the list
        Field(discriminator="name"),
    ]
"""The section of any of them."""


def descriptor_of(section: GuardSection) -> GuardDescriptor:
    """Return what is known about the kind of guard that a section chooses."""
    return _BY_SECTION[type(section)]


_BY_SECTION: Final = {each.section: each for each in GUARDS}
