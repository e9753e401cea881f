"""Serving the desk: whose word is taken for who asks."""

import asyncio
from typing import Any

import pytest

from quality.web.serve import config_of
from quality.web.settings import StewardSettings

PROXIES = ("127.0.0.1", "::1", "10.1.0.0/16", "2001:db8:5::/48")


def asked_by(client: str, *forwarded: str, proxies: tuple[str, ...] = PROXIES) -> str:
    """Whom the application takes for who asks, where `client` has connected."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"][0])

    config = config_of(app, proxies)
    config.load()
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope = {"type": "http", "client": (client, 4711), "headers": headers, "scheme": "http"}
    asyncio.run(config.loaded_app(scope, None, None))  # type: ignore[arg-type]
    return seen[0]


@pytest.mark.parametrize(
    ("client", "forwarded", "wanted"),
    [
        ("127.0.0.1", ("192.0.2.1",), "192.0.2.1"),
        ("10.1.2.3", ("192.0.2.1",), "192.0.2.1"),
        ("::ffff:10.1.2.3", ("192.0.2.1",), "192.0.2.1"),
        ("2001:db8:5::7", ("2001:db8:9::1",), "2001:db8:9::1"),
        ("10.1.2.3", ("192.0.2.7, 192.0.2.1, 10.1.9.9",), "192.0.2.1"),
        ("10.1.2.3", ("192.0.2.7", "192.0.2.1"), "192.0.2.1"),
        ("10.1.2.3", (), "10.1.2.3"),
        ("10.2.2.3", ("192.0.2.1",), "10.2.2.3"),
        ("192.0.2.9", ("127.0.0.1",), "192.0.2.9"),
    ],
)
def test_only_a_trusted_proxy_says_who_asks_and_of_that_its_last_word(
    client: str, forwarded: tuple[str, ...], wanted: str
) -> None:
    assert asked_by(client, *forwarded) == wanted


def test_without_a_proxy_nobody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    assert asked_by("127.0.0.1", "192.0.2.1", proxies=()) == "127.0.0.1"
    assert asked_by("192.0.2.9", "192.0.2.1", proxies=("127.0.0.1",)) == "192.0.2.9"


def test_proxies_are_addresses_or_networks() -> None:
    assert StewardSettings(trusted_proxies=PROXIES).trusted_proxies == PROXIES
    for wrong in ("*", "proxy.example.org", "10.1.2.3/16", ""):
        with pytest.raises(ValueError, match="expected addresses"):
            StewardSettings(trusted_proxies=(wrong,))
