"""What goes wrong with a bucket, in words: whose bucket it is, which variables say so, and what to do. Never a key, an
address or what a source of credentials has printed."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from botocore.exceptions import (
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    SSOError,
    TokenRetrievalError,
)

from connectors.object_called import KEY, PROFILE, SECRET, TOKEN, Called

_IS_A_CODE = re.compile(r"[A-Za-z0-9.]{1,64}")  # it comes from whatever answers there
_WORDS = {
    "403": "this user may not do that with the bucket: see the rights of {key}",
    "AccessDenied": "this user may not do that with the bucket: see the rights of {key}",
    "InvalidAccessKeyId": "the server does not know {key}",
    "XAdminUserNotFound": "the server does not know {key}",
    "SignatureDoesNotMatch": "{secret} is not the right one",
    "NoSuchBucket": "there is no such bucket: see its address, and {endpoint}",
    "404": "there is no such bucket: see its address, and {endpoint}",
    "ExpiredToken": "the credentials have expired: renew {who}, and start again",
    "ExpiredTokenException": "the credentials have expired: renew {who}, and start again",
    "TokenRefreshRequired": "the credentials have expired: renew {who}, and start again",
    "InvalidToken": "{token} is not the right one",
    "RequestTimeTooSkewed": "this machine's clock and the server's are too far apart ({endpoint})",
    "SlowDown": "the server is overloaded ({endpoint})",
    "503": "the server is not available ({endpoint})",
    "ServiceUnavailable": "the server is not available ({endpoint})",
    "InternalError": "the server failed ({endpoint})",
    "500": "the server failed ({endpoint})",
    "PreconditionFailed": "an object was changed while it was read",
    "PermanentRedirect": "the bucket is in another region: set {region}",
}
_OF_PROFILES = {"shared-credentials-file", "config-file", "custom-process", "assume-role", "sso", "login"}
_SOURCES = {
    "assume-role-with-web-identity": "the role of AWS_ROLE_ARN",
    "container-role": "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "iam-role": "the machine's role",
}
_REFRESHED = (CredentialRetrievalError, MetadataRetrievalError, SSOError, TokenRetrievalError)


class Spoken(NamedTuple):
    """The words for one bucket, as it is reached by these variables; `method` is the SDK's name for what gave credentials."""

    called: Called
    environ: Mapping[str, str]
    method: str = ""

    def of(self, error: Exception) -> str:
        """What became of a request."""
        return f"{self.called.bucket}: {self._of(error)}"

    def unrenewed(self, error: Exception) -> str:
        """Why there are no credentials, or none any more."""
        return f"{self.called.bucket}: {self._unrenewed(error)}"

    def saying(self, words: str) -> str:
        """The words, about this bucket, with its names of variables in place of {endpoint} and the like."""
        return f"{self.called.bucket}: {self._filled(words)}"

    def _of(self, error: Exception) -> str:
        if isinstance(error, ClientError) and error.operation_name.startswith("AssumeRole"):
            return self._unrenewed(error)
        if isinstance(error, ClientError):
            code = code_of(error)
            known = code if _IS_A_CODE.fullmatch(code) else "what is no code"
            return self._filled(_WORDS.get(code, f"the server answers {known} ({{endpoint}}; {{who}})"))
        if isinstance(error, (*_REFRESHED, ProfileNotFound, PartialCredentialsError, ConfigParseError, ConfigNotFound)):
            return self._unrenewed(error)
        if isinstance(error, NoCredentialsError):
            return f"there are no credentials: set {self._name(KEY)} and {self._name(SECRET)}, or {self._name(PROFILE)}"
        if isinstance(error, SSLError):
            return self._filled("the server's certificate is not trusted ({ca}), or it expects no TLS ({endpoint})")
        if isinstance(error, (ConnectionError, HTTPClientError)):
            return self._filled("the server cannot be reached ({endpoint})")
        return self._filled(f"the SDK gives up ({type(error).__name__}; {{endpoint}}; {{who}})")

    def _unrenewed(self, error: Exception) -> str:
        if isinstance(error, ProfileNotFound):
            return f"there is no profile of the name that {self._name(PROFILE)} says, in AWS_CONFIG_FILE or where it is by itself"
        if isinstance(error, (ConfigParseError, ConfigNotFound)):
            return "the SDK's file of profiles cannot be read (AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE)"
        if isinstance(error, (SSOError, TokenRetrievalError)):
            return f"the sign-in has expired: sign in again for {self._who()} (aws sso login), and start again"
        why = code_of(error) or type(error).__name__
        return f"credentials cannot be had from {self._who()} ({why}): see that it answers, and start again"

    def _filled(self, words: str) -> str:
        is_told = {KEY, SECRET} <= self.environ.keys()
        named = {"key": "access key", "secret": "secret key", "token": "session token"}
        parts = {
            name: self._name(variable) if is_told else f"the {named[name]} of {self._who()}"
            for name, variable in (("key", KEY), ("secret", SECRET), ("token", TOKEN))
        }
        more = {"endpoint": "AWS_ENDPOINT_URL", "region": "AWS_REGION", "ca": "AWS_CA_BUNDLE"}
        return words.format(**parts, **{name: self._name(of) for name, of in more.items()}, who=self._who())

    def _who(self) -> str:
        """Where the credentials come from."""
        if {KEY, SECRET} <= self.environ.keys():
            first = f"{self._name(KEY)}, {self._name(SECRET)}"
            return f"{first} and {self._name(TOKEN)}" if TOKEN in self.environ else first.replace(", ", " and ")
        if self.method in _SOURCES and not (self.method.startswith("assume") and PROFILE in self.environ):
            return _SOURCES[self.method]
        if PROFILE in self.environ:
            return f"the profile that {self._name(PROFILE)} names"
        if self.method in _OF_PROFILES:
            return "the profile default"
        if "AWS_WEB_IDENTITY_TOKEN_FILE" in self.environ:
            return _SOURCES["assume-role-with-web-identity"]
        is_container = any(name.startswith("AWS_CONTAINER_CREDENTIALS_") for name in self.environ)
        return _SOURCES["container-role" if is_container else "iam-role"]

    def _name(self, variable: str) -> str:
        if variable == "AWS_ENDPOINT_URL" and "AWS_ENDPOINT_URL_S3" in self.environ:
            return self.called.variable("AWS_ENDPOINT_URL_S3")
        return self.called.variable(variable)


def code_of(error: Exception) -> str:
    """The server's own word for what is wrong; empty where it has not answered."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
