"""Signing in by an identity provider, which the test itself is: the way there and back, and all that can be forged."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from quality.users import Role, User, Users
from quality.web.app import desk_app
from quality.web.settings import StewardSettings
from tests.certificates import Authority
from tests.desks import FakeDesk
from tests.serving import serving
from tests.steward_world import desk
from tests.stewards import Browser, Clock

SUBJECT, CLIENT, SECRET = "subject-of-ada", "wellspring-desk", "the client's secret"
KEY, OTHER_KEY = (RSAKey.generate_key(2048, {"kid": "k1"}) for _ in range(2))


@dataclass
class Provider:
    """What an identity provider says: by default the truth about `SUBJECT`; `claims` and `key` are how it may lie."""

    issuer: str = ""
    nonce: str = ""
    challenge: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: KEY)
    asked: list[dict[str, list[str]]] = field(default_factory=list)

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def token(self) -> dict[str, Any]:
        now = int(time())
        said = {
            "iss": self.issuer,
            "sub": SUBJECT,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 60,
            "nonce": self.nonce,
            **self.claims,
        }
        signed = jwt.encode({"alg": "RS256", "kid": "k1"}, said, self.key)
        return {"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": signed}


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """A provider that listens on this machine."""
    # each of the library's clients reads all the authorities that the system trusts; here it is one
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path, "ca").certificate))
    said = Provider()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys = {"keys": [KEY.as_dict(private=False)]}
            self._say(said.metadata() if self.path.endswith("openid-configuration") else keys)

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            said.asked.append(form)
            verified = urlsafe_b64encode(sha256(form["code_verifier"][0].encode()).digest()).rstrip(b"=").decode()
            self._say(said.token() if verified == said.challenge else {"error": "invalid_grant"})

        def _say(self, value: dict[str, Any]) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Answers)) as server:
        said.issuer = f"http://127.0.0.1:{server.server_address[1]}"
        yield said


@pytest.fixture(scope="module")
def world() -> FakeDesk:
    return desk(days=1)


def browser_of(world: FakeDesk, provider: Provider, subject: str = SUBJECT) -> Browser:
    settings = StewardSettings(oidc_issuer=provider.issuer, oidc_client_id=CLIENT, oidc_client_secret=SecretStr(SECRET))
    known = Users([User(name="ada", oidc=subject, studies={"sleep": Role.STEWARD})])
    return Browser(desk_app(world, lambda: known, settings, b"secret", Clock()))


def went(browser: Browser, provider: Provider) -> dict[str, str]:
    """The browser has gone to the provider's page: what it brought along."""
    response = browser.get("/sign-in/provider")
    assert response.status_code == 302 and response.headers["location"].startswith(f"{provider.issuer}/authorize?")
    said = {name: values[0] for name, values in parse_qs(urlsplit(response.headers["location"]).query).items()}
    assert said["code_challenge_method"] == "S256" and said["redirect_uri"] == "http://127.0.0.1:8600/sign-in/back"
    cookie = next(one for one in response.headers.get_list("set-cookie") if one.startswith("wellspring-way="))
    assert "SameSite=lax" in cookie and "HttpOnly" in cookie and "Path=/sign-in/back" in cookie
    provider.nonce, provider.challenge = said["nonce"], said["code_challenge"]
    return said


def test_whom_the_provider_knows_signs_in(world: FakeDesk, provider: Provider) -> None:
    browser = browser_of(world, provider)
    assert "Sign in with your organisation" in browser.get("/sign-in").text
    before = browser.client.cookies["wellspring"]
    state = went(browser, provider)["state"]
    response = browser.get(f"/sign-in/back?code=c&state={state}")
    assert response.status_code == 200 and 'content="0; url=/"' in response.text
    assert browser.client.cookies["wellspring"] != before
    assert browser.get("/studies/sleep/waiting").status_code == 200
    assert provider.asked[0]["code"] == ["c"]


def test_who_is_no_user_here_is_not_let_in(world: FakeDesk, provider: Provider) -> None:
    browser = browser_of(world, provider, subject="somebody-else")
    state = went(browser, provider)["state"]
    response = browser.get(f"/sign-in/back?code=c&state={state}")
    assert response.status_code == 403 and "no user of this desk" in response.text
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another-client"},
        {"aud": "another-client", "azp": CLIENT},
        {"aud": ["another-client", "a-third"], "azp": CLIENT},
        {"nonce": "another"},
        {"exp": 1_000_000_000, "iat": 999_999_000},
        {"sub": None},
    ],
    ids=["issuer", "audience", "audience with azp", "audiences with azp", "nonce", "expired", "nobody"],
)
def test_a_token_that_does_not_hold_signs_nobody_in(
    world: FakeDesk, provider: Provider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    browser = browser_of(world, provider)
    state = went(browser, provider)["state"]
    provider.claims = claims
    response = browser.get(f"/sign-in/back?code=c&state={state}")
    assert response.status_code in (403, 502) and browser.get("/").status_code == 303


def test_a_token_that_somebody_else_signed_signs_nobody_in(world: FakeDesk, provider: Provider) -> None:
    browser = browser_of(world, provider)
    state = went(browser, provider)["state"]
    provider.key = OTHER_KEY
    assert browser.get(f"/sign-in/back?code=c&state={state}").status_code == 502
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize("query", ["code=c&state=forged", "code=c", "error=access_denied&state={state}", ""])
def test_a_way_back_that_was_not_begun_so_leads_nowhere(world: FakeDesk, provider: Provider, query: str) -> None:
    browser = browser_of(world, provider)
    state = went(browser, provider)["state"]
    assert browser.get(f"/sign-in/back?{query.format(state=state)}").status_code in (403, 502)
    assert browser.get("/").status_code == 303


def test_another_browser_s_way_leads_nowhere(world: FakeDesk, provider: Provider) -> None:
    """Who is lured to another's way back does not sign in as them."""
    state = went(browser_of(world, provider), provider)["state"]
    victim = browser_of(world, provider)
    assert victim.get(f"/sign-in/back?code=c&state={state}").status_code == 403
    went(victim, provider)
    assert victim.get(f"/sign-in/back?code=c&state={state}").status_code in (403, 502)


def test_without_a_provider_there_is_no_such_way(world: FakeDesk) -> None:
    browser = Browser(desk_app(world, lambda: Users([]), StewardSettings(), b"secret", Clock()))
    assert browser.get("/sign-in/provider").status_code == 404 == browser.get("/sign-in/back?code=c").status_code
    assert "organisation" not in browser.get("/sign-in").text


def test_a_provider_that_cannot_be_asked_is_said_in_words(world: FakeDesk) -> None:
    settings = StewardSettings(oidc_issuer="http://127.0.0.1:1", oidc_client_id=CLIENT)
    browser = Browser(desk_app(world, lambda: Users([]), settings, b"secret", Clock()))
    response = browser.get("/sign-in/provider")
    assert response.status_code == 502 and "could not be asked" in response.text
