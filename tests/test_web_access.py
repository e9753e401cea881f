"""Every route of the desk as everybody: nobody sees a study that is not theirs, and no role does more than it may."""

from typing import Any

import pytest

from quality.users import Role, User
from quality.web.routes import ROUTES, Route
from tests.steward_world import PSEUDONYM, TODAY, VALUE, desk
from tests.stewards import ROLES, Browser, app_over, as_

PLACES = {"study": "sleep", "check": "PL-01", "proposal": f"{3:032x}", "name": "checks.csv", "request": "0" * 32 + "-x"}
ROWS = {"check": "PL-01", "day": TODAY.isoformat()}
OF_STUDIES = [route for route in ROUTES if "{study}" in route.path]


@pytest.fixture(scope="module")
def world() -> Any:
    return desk(days=3)


@pytest.fixture(scope="module")
def visitors(world: Any) -> dict[str, Browser]:
    """Everybody, signed in."""
    app = app_over(world)
    return {name: as_(app, name) for name in ROLES}


def path_of(route: Route, **places: str) -> str:
    path = route.path.format(**{**PLACES, **places})
    return f"{path}?check=PL-01&day={TODAY}" if path.endswith(("/rows", "/waiting")) else path


def asked(browser: Browser, route: Route, **places: str) -> Any:
    path = path_of(route, **places)
    return browser.get(path) if route.method == "GET" else browser.post(path, {**ROWS, "reason": "seen"})


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_says_what_its_visitor_must_be_allowed_to(
    world: Any, visitors: dict[str, Browser], route: Route
) -> None:
    """Nobody gets in without signing in; who has no role in the study is told nothing of it, not even that it is there."""
    anonymous = Browser(app_over(world))
    anonymous.get("/sign-in")
    response = asked(anonymous, route)
    if route.access == "anybody":
        assert response.status_code == 200
        return
    assert response.status_code == 303 and response.headers["location"] == "/sign-in"
    if "{study}" not in route.path:
        return
    for name in ("eve", "nia"):
        of_other, of_nobodys = (asked(visitors[name], route, study=study) for study in ("sleep", "nowhere"))
        assert of_other.status_code == of_nobodys.status_code == 404
        assert strip(of_other.text) == strip(of_nobodys.text)
    assert not any(asked_["study"] != "sleep" or asked_["by"] in ("eve", "nia") for asked_ in world.asked)


def strip(text: str) -> str:
    """A page without what differs from visit to visit."""
    return "\n".join(line for line in text.splitlines() if "token" not in line)


@pytest.mark.parametrize("route", OF_STUDIES, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("name", ["vic", "ada", "cyd"])
def test_a_role_does_what_it_may_and_nothing_else(
    world: Any, visitors: dict[str, Browser], route: Route, name: str
) -> None:
    before = len(world.asked)
    user = User(name=name, studies=ROLES[name])
    response = asked(visitors[name], route)
    assert route.access not in ("anybody", "user")
    may = user.may(route.access, "sleep")  # type: ignore[arg-type]
    assert (response.status_code != 403) == may or "another person" in response.text or name == "ada", response.text
    if not may:
        assert response.status_code == 403 and len(world.asked) == before
    elif "{request}" in route.path:
        assert response.status_code == 404  # no request that this desk has sealed
    elif "{proposal}" not in route.path and not route.path.endswith(
        ("/decision", "/preview", "/sign-off", "/threshold")
    ):
        assert response.status_code == 200


@pytest.mark.parametrize("route", OF_STUDIES, ids=lambda route: f"{route.method} {route.path}")
def test_values_and_pseudonyms_are_in_the_row_views_only(visitors: dict[str, Browser], route: Route) -> None:
    if route.method == "POST":
        return
    text = asked(visitors["cyd"], route).text
    shows = route.path.endswith("/rows")
    assert (PSEUDONYM in text) == shows and (str(VALUE + 1) in text) == shows


def test_every_route_of_a_study_asks_for_a_right() -> None:
    assert all(route.access not in ("anybody", "user") for route in OF_STUDIES)
    assert {route.path for route in ROUTES if route.access == "anybody"} == {"/sign-in"}
    assert all(route.access not in ("view", "export") for route in OF_STUDIES if route.method == "POST")
    assert set(Role) == {Role.VIEWER, Role.STEWARD, Role.APPROVER}


def test_the_first_page_lists_one_s_own_studies_only(visitors: dict[str, Browser]) -> None:
    assert "Sleep and shift work" in visitors["vic"].get("/").text
    of_eve, of_nia = visitors["eve"].get("/").text, visitors["nia"].get("/").text
    assert "Sleep" not in of_eve and "/studies/cycle" in of_eve
    assert "/studies/" not in of_nia and "no role" in of_nia


def test_another_study_s_request_is_not_told(visitors: dict[str, Browser]) -> None:
    ada = visitors["ada"]
    sent = ada.post("/studies/sleep/sign-off", {"day": TODAY.isoformat(), "reason": "seen"})
    sealed = sent.headers["location"].rsplit("/", 1)[1]
    assert ada.get(f"/studies/sleep/requests/{sealed}").status_code == 200
    assert visitors["eve"].get(f"/studies/cycle/requests/{sealed}").status_code == 404
    assert ada.get(f"/studies/sleep/requests/{sealed[:-1]}g").status_code == 404
