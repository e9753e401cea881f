"""Signing in and out: sessions, their cookies, the tokens of forms, and how often a password may be tried."""

from typing import Any

import pytest

from connectors.source_file import StorageFailed
from quality.users import Role, User, Users, UsersError
from quality.web.app import _unforeseen, desk_app
from quality.web.attempts import FREE, MOST, Attempts
from quality.web.sessions import Sessions
from quality.web.settings import StewardSettings
from tests.steward_world import TODAY, desk
from tests.stewards import PASSWORD, Browser, Clock, app_over, as_, cheap_passwords, users


@pytest.fixture(scope="module")
def world() -> Any:
    return desk(days=1)


@pytest.fixture
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing for a name that nobody has costs next to nothing."""
    cheap_passwords(monkeypatch)


def cookies_of(response: Any) -> str:
    return "\n".join(response.headers.get_list("set-cookie"))


def test_a_session_has_another_id_after_signing_in_and_none_after_signing_out(world: Any) -> None:
    browser = Browser(app_over(world))
    browser.get("/sign-in")
    before, token = browser.client.cookies["wellspring"], browser.token
    response = browser.post("/sign-in", {"name": "Ada", "password": PASSWORD})
    assert (response.status_code, response.headers["location"]) == (303, "/")
    signed_in = browser.client.cookies["wellspring"]
    assert signed_in != before and browser.get("/").status_code == 200 and browser.token != token
    assert browser.get("/sign-in").headers["location"] == "/"
    browser.client.cookies.set("wellspring", before, domain="127.0.0.1", path="/")
    assert browser.get("/").status_code == 303
    browser.client.cookies.set("wellspring", signed_in, domain="127.0.0.1", path="/")
    browser.get("/")
    assert browser.post("/sign-out").headers["location"] == "/sign-in"
    browser.client.cookies.set("wellspring", signed_in, domain="127.0.0.1", path="/")
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize(
    ("settings", "name", "secure"),
    [({}, "wellspring", False), ({"url": "https://quality.example.org"}, "__Host-wellspring", True)],
)
def test_a_cookie_is_for_the_server_alone(world: Any, settings: dict[str, str], name: str, secure: bool) -> None:
    origin = settings.get("url", "http://127.0.0.1:8600")
    said = cookies_of(Browser(app_over(world, **settings), origin).get("/sign-in"))
    assert said.startswith(f"{name}=") and "HttpOnly" in said and "SameSite=strict" in said and "Path=/" in said
    assert ("Secure" in said) == secure


def test_a_session_ends_when_nobody_is_there_and_after_some_hours_in_any_case(world: Any) -> None:
    clock = Clock()
    browser = as_(app_over(world, clock, idle_minutes=30, session_hours=2), "ada")
    for _ in range(4):
        clock.now += 29 * 60
        assert browser.get("/").status_code == 200
    clock.now += 29 * 60
    assert browser.get("/").status_code == 303
    browser = as_(app_over(world, clock, idle_minutes=30), "ada")
    clock.now += 31 * 60
    assert browser.get("/").status_code == 303


def test_a_page_that_asks_by_itself_keeps_no_session_alive(world: Any) -> None:
    clock = Clock()
    browser = as_(app_over(world, clock, idle_minutes=30), "ada")
    clock.now += 29 * 60
    assert browser.client.get("/", headers={"HX-Request": "true"}).status_code == 200
    clock.now += 2 * 60
    response = browser.client.get("/", headers={"HX-Request": "true"})
    assert (response.status_code, response.headers["hx-redirect"]) == (401, "/sign-in")


def test_a_cookie_that_was_not_made_here_is_nobody_s(world: Any) -> None:
    browser = as_(app_over(world), "vic")
    own = browser.client.cookies["wellspring"]
    of_other_desk = desk_app(world, users, StewardSettings(), b"another secret", Clock())
    stolen = as_(of_other_desk, "ada").client.cookies["wellspring"]
    other = "a" if own[-9] != "a" else "b"
    for forged in (own[:-9] + other + own[-8:], stolen, "x", own.replace(".", "..", 1)):
        browser.client.cookies.set("wellspring", forged, domain="127.0.0.1", path="/")
        assert browser.get("/").status_code == 303


@pytest.mark.parametrize("after", [Users([]), Users([User(name="ada", studies={"sleep": Role.STEWARD})])])
def test_with_the_user_or_their_password_the_session_goes(world: Any, after: Users) -> None:
    now = users()
    app = desk_app(world, lambda: now, StewardSettings(), b"secret", Clock())
    browser = as_(app, "ada")
    now = after
    assert browser.get("/studies/sleep").status_code == 303


def test_a_role_that_is_taken_away_is_gone_at_once(world: Any) -> None:
    now = users()
    app = desk_app(world, lambda: now, StewardSettings(), b"secret", Clock())
    browser = as_(app, "ada")
    ada = now.by_name["ada"]
    now = Users([ada.model_copy(update={"studies": {}})])
    assert browser.get("/studies/sleep").status_code == 404


def test_nobody_is_in_while_the_users_file_cannot_be_used(world: Any) -> None:
    def broken() -> Users:
        raise UsersError("users.0.name: no")

    browser = Browser(desk_app(world, broken, StewardSettings(), b"secret", Clock()))
    assert browser.get("/").status_code == 303 and browser.get("/sign-in").status_code == 200


@pytest.mark.parametrize("path", ["/sign-out", "/studies/sleep/sign-off", "/sign-in"])
@pytest.mark.parametrize("token", ["", "0" * 32, "ü"])
def test_a_form_without_its_token_is_refused(world: Any, path: str, token: str) -> None:
    browser = as_(app_over(world), "ada")
    before = len(world.asked)
    fields = {"token": token, "day": TODAY.isoformat(), "reason": "r", "name": "cyd", "password": PASSWORD}
    assert browser.client.post(path, data=fields).status_code == 403
    assert len(world.asked) == before and browser.get("/").status_code == 200


def test_another_session_s_token_is_refused(world: Any) -> None:
    app = app_over(world)
    ada, bob = as_(app, "ada"), as_(app, "bob")
    ada.token = bob.token
    assert ada.post("/studies/sleep/sign-off", {"day": TODAY.isoformat(), "reason": "r"}).status_code == 403


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (303, {"origin": "null", "sec-fetch-site": "same-origin"}, b""),
        (403, {"origin": "https://elsewhere.example"}, b""),
        (403, {"origin": "null", "sec-fetch-site": "cross-site"}, b""),
        (403, {"sec-fetch-site": "same-site"}, b""),
        (415, {"content-type": "application/json"}, b"{}"),
        (415, {"content-type": "text/plain"}, b"token=x"),
        (413, {}, b"reason=" + b"x" * 70_000),
    ],
)
def test_a_form_from_elsewhere_or_too_large_is_refused(
    world: Any, status: int, headers: dict[str, str], body: bytes
) -> None:
    browser = as_(app_over(world), "ada")
    said = {"content-type": "application/x-www-form-urlencoded", **headers}
    content = body or f"token={browser.token}&reason=r&day={TODAY}".encode()
    response = browser.client.post("/studies/sleep/sign-off", content=content, headers=said)
    assert response.status_code == status


def test_the_desk_answers_to_its_own_name_only(world: Any) -> None:
    browser = Browser(app_over(world))
    assert browser.get("/sign-in", host="elsewhere.example").status_code == 421
    assert browser.get("/sign-in", host="localhost:8600").status_code == 200
    assert browser.get("/sign-in", host="[::1]:8600").status_code == 200


def test_a_thousand_wrong_passwords_are_slowed() -> None:
    """Tried once a second, hardly any is looked at."""
    clock = Clock()
    attempts = Attempts(clock)
    looked_at = 0
    for _ in range(1000):
        looked_at += attempts.begin("ada", "192.0.2.1") == 0
        clock.now += 1
    assert FREE["name"] < looked_at < 20


@pytest.mark.usefixtures("_cheap")
@pytest.mark.parametrize("name", ["ada", "nobody-of-that-name"])
def test_whoever_guesses_has_to_wait_and_is_not_told_whether_there_is_such_a_name(world: Any, name: str) -> None:
    clock = Clock()
    browser = Browser(app_over(world, clock))
    browser.get("/sign-in")
    answers = [browser.post("/sign-in", {"name": name, "password": "wrong password"}) for _ in range(40)]
    assert [answer.status_code for answer in answers] == [403] * 5 + [429] * 35
    assert answers[-1].headers["Retry-After"] == "1" and "Try again in 1 s" in answers[-1].text
    assert browser.post("/sign-in", {"name": name, "password": PASSWORD}).status_code == 429
    clock.now += 300
    assert browser.post("/sign-in", {"name": "ada", "password": PASSWORD}).status_code == 303


def test_many_names_from_one_address_are_slowed_too() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    begun = [attempts.begin(f"name-{i}", "192.0.2.1") for i in range(1000)]
    assert begun.count(0) == FREE["address"] and attempts.begin("name-1", "192.0.2.2") == 0


@pytest.mark.usefixtures("_cheap")
def test_nobody_keeps_a_steward_out_of_the_browser_that_they_have_used_before(world: Any) -> None:
    """Others fail under their name, from their address and from many more, at any moment."""
    clock = Clock()
    app = app_over(world, clock)
    ada, other = as_(app, "ada"), as_(app, "eve")
    for browser in (ada, other):
        browser.get("/")
        browser.post("/sign-out")
    guesser = Browser(app)
    guesser.get("/sign-in")
    answers = [guesser.post("/sign-in", {"name": "ada", "password": "wrong password"}) for _ in range(30)]
    assert answers[-1].status_code == 429
    assert Browser(app).sign_in("ada").status_code == 429
    assert other.sign_in("ada").status_code == 429, "another user's browser is none of ada's"
    assert ada.sign_in("ada").status_code == 303


@pytest.mark.usefixtures("_cheap")
def test_a_thousand_wrong_passwords_are_slowed_in_a_known_browser_too(world: Any) -> None:
    clock = Clock()
    browser = as_(app_over(world, clock), "ada")
    browser.get("/")
    browser.post("/sign-out")
    browser.get("/sign-in")
    looked_at = 0
    for _ in range(1000):
        looked_at += browser.post("/sign-in", {"name": "ada", "password": "wrong password"}).status_code == 403
        clock.now += 1
    assert FREE["browser"] < looked_at < 20


def test_a_thousand_wrong_passwords_from_as_many_addresses_are_slowed() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    looked_at = 0
    for i in range(1000):
        looked_at += attempts.begin("ada", f"192.0.{i // 250}.{i % 250}") == 0
        clock.now += 1
    assert FREE["name"] < looked_at < 20


def test_a_known_browser_waits_by_itself_alone() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    begun = [attempts.begin("ada", "192.0.2.1", "b") for _ in range(6)]
    assert begun == [0] * 5 + [1]
    assert attempts.begin("ada", "192.0.2.1", "c") == 0 == attempts.begin("ada", "192.0.2.1")
    clock.now += 1
    assert attempts.begin("ada", "192.0.2.1", "b") == 0
    attempts.right("ada", "192.0.2.1", "b")
    assert [attempts.begin("ada", "192.0.2.1", "b") for _ in range(6)] == begun


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("unknown", "unknown", True),
    ],
)
def test_an_address_is_as_much_as_one_household_has(one: str, other: str, same: bool) -> None:
    attempts = Attempts(Clock())
    for i in range(FREE["address"]):
        attempts.begin(f"name-{i}", one)
    assert (attempts.begin("ada", other) > 0) == same


@pytest.mark.parametrize("secure", [False, True])
def test_a_known_browser_s_cookie_is_for_signing_in_alone(world: Any, secure: bool) -> None:
    clock = Clock()
    settings = {"url": "https://quality.example.org"} if secure else {}
    browser = Browser(app_over(world, clock, **settings), settings.get("url", "http://127.0.0.1:8600"))
    name = "__Secure-wellspring-browser" if secure else "wellspring-browser"
    said = next(one for one in browser.sign_in("ada").headers.get_list("set-cookie") if one.startswith(f"{name}="))
    assert "HttpOnly" in said and "SameSite=strict" in said and "Path=/sign-in" in said and "Max-Age=31536000" in said
    assert ("Secure" in said.split("; ")) == secure
    sessions = Sessions(b"secret of the tests", clock, 60, 60)
    cookie = said.partition("=")[2].partition(";")[0]
    assert sessions.browser(cookie, "ada") and not sessions.browser(cookie, "bob")
    assert not sessions.browser(cookie[:-1], "ada") and not sessions.browser("", "ada")
    assert sessions.read(cookie) is None and not sessions.browser(sessions.cookie(sessions.new()), "ada")
    clock.now += 366 * 86_400
    assert not sessions.browser(cookie, "ada")


def test_a_wait_doubles_has_an_end_and_is_forgotten() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    waits = []
    for i in range(20):
        while wait := attempts.begin("ada", f"192.0.2.{i}"):
            waits.append(wait)
            clock.now += wait
    assert waits[:4] == [1, 2, 4, 8] and max(waits) == 300
    clock.now += 3601
    assert attempts.begin("ada", "192.0.2.1") == 0 == attempts.begin("ada", "192.0.2.1")


def test_the_right_password_clears_the_name_and_memory_is_bounded() -> None:
    attempts = Attempts(Clock())
    for _ in range(FREE["address"] * 2):
        assert attempts.begin("ada", "192.0.2.1") == 0
        attempts.right("ada", "192.0.2.1")
    for i in range(MOST):
        attempts.begin(f"name-{i}", f"address-{i}")
    assert len(attempts._tries) == MOST


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, "url is needed"),
        ({"url": "quality.example.org"}, "url"),
        ({"oidc_issuer": "https://id.example.org"}, "go together"),
        ({"oidc_issuer": "http://id.example.org", "oidc_client_id": "desk"}, "begin with https://"),
        ({"oidc_issuer": "http://127.0.0.1.example.org", "oidc_client_id": "desk"}, "begin with https://"),
        ({"oidc_issuer": "http://localhost@id.example.org", "oidc_client_id": "desk"}, "begin with https://"),
    ],
)
def test_settings_fit_together(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        StewardSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("issuer", ["https://id.example.org/realm", "http://127.0.0.1:8080", "http://[::1]:8080"])
def test_a_provider_by_https_or_on_this_machine(issuer: str) -> None:
    assert StewardSettings(oidc_issuer=issuer, oidc_client_id="desk").oidc_issuer == issuer


def test_a_sign_in_that_fails_by_itself_says_nothing_of_why(world: Any) -> None:
    """Nobody has signed in yet, and sends what no library expects: the server has nothing to trace in a log."""
    browser = Browser(app_over(world))
    browser.get("/sign-in")
    response = browser.post("/sign-in", {"name": "ada", "password": PASSWORD}, origin="http://[no-address")
    assert response.status_code == 500 and "Something went wrong here" in response.text
    assert "no-address" not in response.text
    assert browser.get("/").status_code == 303


def test_a_bucket_that_fails_is_told_in_the_log_and_not_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    words, logged = "the lake's bucket: the credentials have expired: renew AWS_PROFILE", list[str]()
    monkeypatch.setattr("quality.web.app._log.error", lambda text, *parts: logged.append(text % parts))
    for error, told in ((StorageFailed(words), f": {words}"), (ValueError("somebody's"), "")):
        fault = _unforeseen(error)
        assert (fault.status, logged.pop()) == (500, f"a page failed by {type(error).__name__}{told}")
        assert "bucket" not in fault.words
