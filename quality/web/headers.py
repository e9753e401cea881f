"""What every response says to the browser, and the names under which the desk may be asked at all."""

from starlette.datastructures import Headers as HttpHeaders
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quality.web.settings import StewardSettings

POLICY = (
    "default-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; "
    "frame-src 'none'; worker-src 'none'"
)
SAID = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Headers:
    """Around the application: refuses other hosts' names, and says the same with each response."""

    def __init__(self, app: ASGIApp, settings: StewardSettings) -> None:
        self._app, self._hosts = app, settings.hosts
        self._said = SAID | ({"Strict-Transport-Security": "max-age=31536000"} if settings.is_https else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._said)
                headers["Cache-Control"] = "max-age=3600" if scope["path"].startswith("/static/") else "no-store"
            await send(message)

        if _host(HttpHeaders(scope=scope).get("host", "")) not in self._hosts:
            await PlainTextResponse("The desk is not here under this name.", 421)(scope, receive, say)
            return
        await self._app(scope, receive, say)


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()
