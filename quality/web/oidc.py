"""Signing in by an identity provider (OpenID Connect): code flow with PKCE, state and nonce, by Authlib.

What has to be remembered between going there and coming back is in a signed cookie of ten minutes. It is the one cookie
that a link from elsewhere brings along (`SameSite=Lax`): the way back is such a link.
"""

import logging
from typing import Any, Self

from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from quality.web.settings import StewardSettings
from quality.web.visit import Fault, Visit

WAY_S = 600
_log = logging.getLogger(__name__)


class Provider:
    """One identity provider and the desk's registration there."""

    def __init__(self, settings: StewardSettings) -> None:
        issuer, secret = settings.oidc_issuer, settings.oidc_client_secret
        self._issuer, self._client, self._https = issuer, settings.oidc_client_id, settings.is_https
        self._back = f"{settings.origin}/sign-in/back"
        registered = OAuth()
        registered.register(
            "provider",
            client_id=settings.oidc_client_id,
            client_secret=secret.get_secret_value() if secret else None,
            server_metadata_url=f"{str(issuer).rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={"scope": "openid", "code_challenge_method": "S256", "timeout": 10},
        )
        self._provider: Any = registered.provider

    @classmethod
    def of(cls, settings: StewardSettings) -> Self | None:
        """The provider of the settings, None where none is set."""
        return cls(settings) if settings.oidc_issuer else None

    async def send(self, request: Request, visit: Visit) -> Response:
        """Off to the provider's page."""
        remembered: dict[str, Any] = {}
        request.scope["session"] = remembered
        try:
            response: Response = await self._provider.authorize_redirect(request, self._back)
        except Exception as error:
            raise self._fault(error) from None
        response.set_cookie(
            self._cookie,
            _signer(visit).dumps(remembered),
            max_age=WAY_S,
            path="/sign-in/back",
            httponly=True,
            samesite="lax",
            secure=self._https,
        )
        return response

    async def subject(self, request: Request, visit: Visit) -> str:
        """Whom the provider says this is; Fault where it does not, or not to whom went there from here."""
        try:
            request.scope["session"] = _signer(visit).loads(request.cookies.get(self._cookie, ""), max_age=WAY_S)
            said = {
                "iss": {"essential": True, "value": self._issuer},
                "aud": {"essential": True, "value": self._client},  # the library is content with `azp` in its place
                "sub": {"essential": True},
            }
            token = await self._provider.authorize_access_token(request, claims_options=said)
            return str(token["userinfo"]["sub"])
        except BadSignature:
            raise Fault(403, "This took too long, or was not begun here: sign in again.") from None
        except OAuthError as error:
            _log.warning("the identity provider did not sign somebody in: %s", type(error).__name__)
            raise Fault(403, "The identity provider has not signed you in.") from None
        except Exception as error:  # its texts may show what the provider sent
            raise self._fault(error) from None

    @property
    def _cookie(self) -> str:
        return "__Secure-wellspring-way" if self._https else "wellspring-way"

    def _fault(self, error: Exception) -> Fault:
        _log.error("the identity provider could not be asked: %s", type(error).__name__)
        return Fault(502, "The identity provider could not be asked, or its answer does not hold.")


def _signer(visit: Visit) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(visit.sessions.seal("way"), salt="way")
