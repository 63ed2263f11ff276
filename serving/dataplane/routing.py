"""Who answers a request: the version that was asked for, or the newest that is ready."""

from __future__ import annotations

from serving.dataplane.context import RequestContext
from serving.dataplane.endpoint import Endpoint
from serving.errors import ModelNotReady, VersionNotFound, VigilError, unknown_model
from serving.protocol.messages import InferRequest

NOTHING_SAID = "the control plane has not said yet what is served"


class Route:
    """Where a request goes, and why. Never changed: many requests share one.

    Attributes:
        endpoint: answers it.
        arm: name of the group that the request is assigned to, for what is recorded of it; empty
            where traffic is not split.
        propensity: probability, in (0, 1], with which a request like this gets this arm.
        mirrors: routes whose endpoints get a copy of it; nobody waits for their answers.
    """

    __slots__ = ("arm", "endpoint", "mirrors", "propensity")

    def __init__(
        self,
        endpoint: Endpoint,
        arm: str = "",
        propensity: float = 1.0,
        mirrors: tuple[Route, ...] = (),
    ) -> None:
        self.endpoint = endpoint
        self.arm = arm
        self.propensity = propensity
        self.mirrors = mirrors


class Router:
    """Chooses a route for each request.

    A route is made when an endpoint is put here and kept until that is replaced or removed.

    Attributes:
        told: whether it is known what is served; until then nothing is unknown, only not ready.
    """

    def __init__(self) -> None:
        self.told = False
        self._versions: dict[str, dict[str, Route]] = {}
        """By name and version, the newest version first."""
        self._known: dict[str, dict[str, Route]] = {}
        """The same, and the empty version where there is one version only."""

    def choose(self, request: InferRequest, context: RequestContext) -> Route:
        """Return the route of a request. Every request passes here: nearly always a look-up.

        Raises:
            ModelNotFound, VersionNotFound: nothing of that name is served.
            ModelNotReady: nobody has said yet what is.
        """
        known = self._known.get(request.model_name)
        if known is not None:
            route = known.get(request.model_version)
            if route is not None:
                return route
        return self._search(request.model_name, request.model_version)

    def endpoint(self, name: str, version: str = "") -> Endpoint:
        """Return what answers for a name; an empty version is the newest that is ready.

        Raises:
            VigilError: as for `choose`.
        """
        return self._search(name, version).endpoint

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model, oldest first."""
        return sorted(self._versions.get(name, ()), key=int)

    def put(self, route: Route) -> None:
        """Send requests for the name and version of a route's endpoint there from now on."""
        endpoint = route.endpoint
        self._set(endpoint.name, {**self._versions.get(endpoint.name, {}), endpoint.version: route})

    def remove(self, name: str, version: str) -> None:
        """Answer no more for a name and version."""
        versions = self._versions.get(name, {})
        self._set(name, {known: route for known, route in versions.items() if known != version})

    def _set(self, name: str, versions: dict[str, Route]) -> None:
        if not versions:
            self._versions.pop(name, None)
            self._known.pop(name, None)
            return
        newest_first = sorted(versions, key=int, reverse=True)
        self._versions[name] = {version: versions[version] for version in newest_first}
        only = {"": versions[newest_first[0]]} if len(versions) == 1 else {}
        self._known[name] = versions | only

    def _search(self, name: str, version: str) -> Route:
        versions = self._versions.get(name)
        if versions is None:
            if not self.told:
                raise ModelNotReady(f"{NOTHING_SAID}; retry later", retry_after_s=1)
            raise unknown_model(name[:200])
        if version:
            route = versions.get(version)
            if route is None:
                raise _unknown_version(name, version, versions)
            return route
        # A version that is still loading, or never will, must not take the place of one that works.
        for route in versions.values():
            if route.endpoint.ready:
                return route
        return next(iter(versions.values()))


def _unknown_version(name: str, version: str, versions: dict[str, Route]) -> VigilError:
    has = ", ".join(sorted(versions))
    if not (version.isascii() and version.isdigit()):
        # The beginning is Triton's: its examples look for it.
        return VersionNotFound(
            "failed to get model version from specified version string "
            f"'{version[:40]}': versions are whole numbers; it has {has}"
        )
    return VersionNotFound(
        f"Request for unknown model: '{name[:200]}' version '{version[:40]}' is not found; "
        f"it has {has}"
    )
