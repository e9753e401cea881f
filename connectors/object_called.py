"""What a bucket is called in messages, and by which variables: known without loading the SDK."""

from typing import NamedTuple

KEY, SECRET, TOKEN, PROFILE = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"
IDENTITY = frozenset({KEY, SECRET, TOKEN, PROFILE})
"""The variables that say who we are: all of them, or none, are a bucket's own."""


class Called(NamedTuple):
    """How messages call a bucket; `own` are those of its variables AWS_… that are given as `prefix`…"""

    bucket: str = "the bucket"
    prefix: str = "AWS_"
    own: frozenset[str] = frozenset()

    def variable(self, name: str) -> str:
        """By which name the operator knows the variable AWS_…"""
        is_own = name in self.own or (name in IDENTITY and bool(self.own & IDENTITY))
        return f"{self.prefix}{name.removeprefix('AWS_')}" if is_own else name
