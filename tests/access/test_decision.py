"""The decision that every listener asks for."""

from __future__ import annotations

import pytest

from serving.access.decision import Access, access_of
from serving.access.principals import ANYBODY
from serving.access.scopes import Scope
from serving.access.web import FROM_A_PAGE, NO_ORDERS, WebAccess
from serving.config import Listen
from serving.errors import Forbidden

PAGE = "https://app.example.com"
EVERYTHING = [None, *Scope]


def said(access: Access, scope: Scope | None, method: str, headers: dict[bytes, bytes]) -> str:
    refused = access.decide(scope, "m", ANYBODY, method, headers)
    assert refused is None or isinstance(refused, Forbidden)
    return "" if refused is None else refused.message


@pytest.mark.parametrize("scope", EVERYTHING)
def test_whoever_comes_by_no_page_may_ask_for_everything(scope: Scope | None) -> None:
    access = access_of(Listen())
    assert said(access, scope, "POST", {b"host": b"localhost:8000"}) == ""
    assert access.decide(scope, "m", ANYBODY) is None


@pytest.mark.parametrize("scope", EVERYTHING)
def test_pages_and_foreign_names_are_refused_whatever_they_ask_for(scope: Scope | None) -> None:
    access = access_of(Listen())
    foreign = {b"host": b"localhost", b"origin": b"https://evil.example"}
    assert said(access, scope, "POST", foreign) in (FROM_A_PAGE, NO_ORDERS)
    assert "listen.allowed_hosts" in said(access, scope, "GET", {b"host": b"evil.example"})


@pytest.mark.parametrize("headers", [{b"origin": PAGE.encode()}, {b"sec-fetch-site": b"none2"}])
@pytest.mark.parametrize("origins", [["*"], [PAGE]])
def test_a_page_that_is_named_may_ask_for_everything_but_control(
    origins: list[str], headers: dict[bytes, bytes]
) -> None:
    access = Access(WebAccess(origins))
    if b"origin" in headers:
        for scope in set(EVERYTHING) - {Scope.CONTROL}:
            assert said(access, scope, "POST", headers) == ""
    assert said(access, Scope.CONTROL, "POST", headers) == NO_ORDERS
    assert said(access, Scope.CONTROL, "DELETE", headers) == NO_ORDERS
    assert said(access, Scope.CONTROL, "GET", headers) == ""


@pytest.mark.parametrize(("host", "may"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False)])
def test_control_is_for_this_machine_alone(host: str, may: bool) -> None:
    access = access_of(Listen(host=host))
    for method, headers in (("POST", {b"host": b"localhost"}), ("GET", {}), ("", None)):
        refused = access.decide(Scope.CONTROL, "m", ANYBODY, method, headers)
        assert (refused is None) is may
        assert refused is None or "listen.host" in refused.message
    for scope in set(EVERYTHING) - {Scope.CONTROL}:
        assert access.decide(scope, "m", ANYBODY) is None


def test_a_refused_scope_is_refused_to_everybody_with_its_sentence() -> None:
    access = Access(refused={Scope.LABEL: "no labels here"})
    assert said(access, Scope.LABEL, "POST", {}) == "no labels here"
    assert said(access, Scope.INFER, "POST", {}) == ""


def test_scopes_are_the_words_that_a_configuration_names() -> None:
    assert {str(scope) for scope in Scope} == {
        "health", "metadata", "infer", "explain", "label", "observe", "record", "control",
    }  # fmt: skip
