"""The demo's stewards: who may sign in at its desk, with passwords that are made anew each time and lie nowhere."""

import secrets
from pathlib import Path

from pipelines.demo.people import PILOT, SHIFTWORK
from pipelines.demo.world import STUDIES
from quality.users import Role, User, hashed, save_users

STEWARD, APPROVER, VIEWER = "ada", "grace", "vera"
_ROLES: dict[str, dict[str, Role]] = {
    STEWARD: dict.fromkeys(STUDIES, Role.STEWARD),
    APPROVER: dict.fromkeys(STUDIES, Role.APPROVER),
    VIEWER: dict.fromkeys((SHIFTWORK, PILOT), Role.VIEWER),
}
ABOUT = {
    STEWARD: "steward of every study",
    APPROVER: "approver of every study: the second of two people",
    VIEWER: f"may look at {SHIFTWORK} and {PILOT}",
}


def welcome(users: Path) -> dict[str, str]:
    """Write the users file, which its owner alone may read; each user's password."""
    passwords = {name: secrets.token_urlsafe(12) for name in _ROLES}
    save_users(users, [User(name=name, password=hashed(passwords[name]), studies=of) for name, of in _ROLES.items()])
    return passwords
