"""The desk's test button: for stewards of the study only, with its form's token, noted in the audit, told how it went."""

from typing import Any

import pytest

from quality.web.alerts import MOST, WITHIN_S, Trials
from quality.web.visit import Fault
from tests.steward_world import desk
from tests.stewards import Clock, app_over, as_

PATH = "/studies/sleep/alerts/test"


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def world() -> Any:
    return desk(days=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(world: Any, asked: list[str], clock: Clock) -> Any:
    def test_alerts(study: str) -> list[tuple[str, str]]:
        asked.append(study)
        return [("on-call", ""), ("team", "it refuses <the> message")]

    return app_over(world, clock, test_alerts=test_alerts)


def test_a_steward_tests_the_alerts_of_their_study(app: Any, world: Any, asked: list[str]) -> None:
    ada = as_(app, "ada")
    assert "Test the alerts" in ada.get("/studies/sleep").text
    response = ada.post(PATH)
    assert response.status_code == 200 and asked == ["sleep"]
    assert "on-call" in response.text and "no: it refuses &lt;the&gt; message" in response.text
    assert [(seen.by, seen.study, seen.what) for seen in world.seen][-1] == ("ada", "sleep", "alerts test")


@pytest.mark.parametrize(("name", "status"), [("vic", 403), ("eve", 404), ("nia", 404)])
def test_nobody_else_does(app: Any, asked: list[str], name: str, status: int) -> None:
    visitor = as_(app, name)
    assert "Test the alerts" not in visitor.get("/studies/sleep").text
    assert visitor.post(PATH).status_code == status and asked == []


def test_nobody_floods_those_who_are_alerted(app: Any, world: Any, asked: list[str], clock: Clock) -> None:
    ada, bob = as_(app, "ada"), as_(app, "bob")
    for _ in range(MOST["yours"]):
        assert ada.post(PATH).status_code == 200
        clock.now += 60
    before, response = len(world.seen), ada.post(PATH)
    assert response.status_code == 429
    assert "You have tested the alerts 3 times within 10 minutes. Try again in 7 minutes." in response.text
    assert len(asked) == MOST["yours"] and len(world.seen) == before
    assert bob.post(PATH).status_code == 200
    clock.now += WITHIN_S - 181
    assert ada.post(PATH).status_code == 429
    clock.now += 1
    assert [ada.post(PATH).status_code for _ in range(2)] == [200, 429]


def test_nor_do_many_together(asked: list[str]) -> None:
    clock = Clock()
    trials = Trials(lambda study: [], clock)
    for number in range(MOST["all"]):
        trials(f"steward-{number}")
    with pytest.raises(Fault, match=r"The stewards of this desk have tested the alerts 12 times .* in 10 minutes"):
        trials("another")
    clock.now += WITHIN_S
    trials("another")


def test_a_form_without_its_token_is_refused(app: Any, asked: list[str]) -> None:
    ada = as_(app, "ada")
    ada.token = ""
    assert ada.post(PATH).status_code == 403 and asked == []


def test_where_nobody_is_alerted_there_is_no_button_and_it_is_said(world: Any) -> None:
    ada = as_(app_over(world), "ada")
    assert "Test the alerts" not in ada.get("/studies/sleep").text
    assert "Nobody is alerted of this study" in ada.post(PATH).text
