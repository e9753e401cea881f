"""The SDK's session with a server of objects: its client, and the credentials of this moment, which it renews itself.

Keys in the environment stay as they are for the life of the process. Whatever else the SDK knows (a profile with a
command of its own, a role, a container's or a machine's credentials) is asked again before it expires, at any request.
"""

import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from connectors.object_called import KEY, PROFILE, SECRET, TOKEN, Called
from connectors.object_words import Spoken
from connectors.source_file import StorageFailed

_CONNECTIONS = 32
_SOURCE_FAILED = (BotoCoreError, ClientError, OSError, ValueError, KeyError, RuntimeError)
"""What the SDK raises where a source of credentials is away, or says what nobody understands."""

# It warns with what a source has printed, and with a traceback; what comes of it we tell ourselves.
logging.getLogger("botocore.credentials").setLevel(logging.ERROR)


class ObjectSession:
    """One user of one server, by these variables. StorageFailed where there is no such user."""

    def __init__(self, environ: Mapping[str, str], called: Called) -> None:
        self._said = {name: value for name, value in environ.items() if name.startswith("AWS_")}
        self._called, self._method = called, ""
        if (KEY in self._said) != (SECRET in self._said):
            lacking = called.variable(SECRET if KEY in self._said else KEY)
            raise StorageFailed(f"{called.bucket}: one key is set without the other: set {lacking} too")
        session = self._made(_session)
        self._credentials: Any = self._asked(session.get_credentials)
        self._method = str(getattr(self._credentials, "method", ""))
        self.client: Any = self._made(_client)

    @property
    def words(self) -> Spoken:
        """What this user's failures are told by."""
        return Spoken(self._called, self._said, self._method)

    def frozen(self) -> Any:
        """The credentials as they are now, renewed where they would expire soon. StorageFailed where none can be had."""
        if self._credentials is None:
            raise StorageFailed(self.words.of(NoCredentialsError()))
        return self._asked(self._credentials.get_frozen_credentials)

    def _made(self, make: Any) -> Any:
        try:
            return make(os.getpid(), tuple(sorted(self._said.items())))
        except (ClientError, BotoCoreError) as error:
            raise StorageFailed(self.words.of(error)) from None
        except ValueError:  # its words repeat the address, which may hold a password
            raise StorageFailed(self.words.saying("{endpoint} is no address such as https://s3.example.org")) from None

    def _asked(self, ask: Any) -> Any:
        try:
            return ask()
        except _SOURCE_FAILED as error:
            raise StorageFailed(self.words.unrenewed(error)) from None


@lru_cache(maxsize=8)
def _session(process: int, said: tuple[tuple[str, str], ...]) -> Any:
    """One for each process and environment: it is asked for credentials once, and renews them for all who share it."""
    environ = dict(said)
    has_keys = KEY in environ
    return boto3.session.Session(
        aws_access_key_id=environ.get(KEY),
        aws_secret_access_key=environ.get(SECRET),
        aws_session_token=environ.get(TOKEN) if has_keys else None,
        profile_name=environ.get(PROFILE),
    )


@lru_cache(maxsize=8)
def _client(process: int, said: tuple[tuple[str, str], ...]) -> Any:
    """A client for any server: names of buckets in the path, and no checksums that only Amazon's knows.

    One for each process and environment, as it costs a tenth of a second, and a fork must not share connections.
    """
    environ = dict(said)
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    config = Config(
        s3={"addressing_style": "path" if endpoint else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"mode": "standard", "max_attempts": 3},
        max_pool_connections=_CONNECTIONS,
        connect_timeout=5,
        read_timeout=60,
    )
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    return _session(process, said).client(
        "s3", region_name=region, endpoint_url=endpoint, verify=environ.get("AWS_CA_BUNDLE"), config=config
    )
