"""What wants attention: each rule on what calls for it and on what does not, the urgent first, each with what to do next."""

from copy import deepcopy
from typing import Any

import pytest

from pipelines.attention import Urgency, problems, spell
from pipelines.settings import Settings

AT = "2026-01-31T12:00:00Z"
WELL: dict[str, Any] = {
    "at": AT,
    "registries": {"partners": 1, "studies": 1},
    "driver": {"state": "alive", "heard_s": 1.0},
    "ledger": {"last": None, "last_that_read": None},
    "kafka": {"records": 0, "oldest_unread": None, "oldest_consent_unread": None, "kept_until": None, "lost": 0},
    "consent": {"held": {}, "expiring": {"H_NO_CONSENT": 0}, "lagging": 0, "alarms": 0, "owed": 0},
    "quality": {"last_failure": None, "days_left": {}},
    "quarantine": {"sleep": {"rows": 20, "is_late": False}},
    "alerts": {"standing": [], "receivers": [{"name": "ops", "waiting": 3, "last_failure": None}]},
    "requests": {"waiting": 1, "oldest": "2026-01-31T11:30:00Z", "refused": 0},
    "disks": {
        "lake": {"free": 50, "size": 100, "lasts_days": 30.0},
        "vault": {"free": 50, "size": 100, "lasts_days": None},
    },
}
FAILED = {"study": "sleep", "at": AT, "error": "ValueError"}
REFUSES = {"name": "ops", "waiting": 3, "last_failure": "status 500"}
PAGE = [{"study": "sleep", "about": about, "state": "alarm"} for about in ("PL-01", "job")]


def found(part: str, **changed: Any) -> list[tuple[Urgency, str, str]]:
    """The problems where everything stands well but for this part, without what to do next."""
    state = deepcopy(WELL)
    state[part].update(changed)
    told = problems(state, Settings())
    assert all(one.next for one in told)
    return [(one.urgency, one.about, one.what) for one in told]


def test_nothing_is_told_where_all_is_well() -> None:
    assert problems(WELL, Settings()) == []


@pytest.mark.parametrize(
    ("part", "changed", "urgency", "words"),
    [
        ("driver", {"state": "silent", "heard_s": 7200.0}, Urgency.NOW, "last heard of 2 hours ago"),
        ("driver", {"state": "none"}, Urgency.SOON, "no driver is at work"),
        ("registries", {"error": "there is no registry x"}, Urgency.NOW, "there is no registry x"),
        ("kafka", {"error": "nothing listens there"}, Urgency.NOW, "nothing listens there"),
        ("kafka", {"refused": "records 1 to 2 were deleted"}, Urgency.NOW, "records 1 to 2 were deleted"),
        ("kafka", {"oldest_unread": "2026-01-31T11:50:00Z"}, Urgency.SOON, "records have waited for 10 minutes"),
        ("kafka", {"oldest_consent_unread": "2026-01-31T11:50:00Z"}, Urgency.SOON, "consent events have waited"),
        ("kafka", {"kept_until": "2026-02-01T02:00:00Z"}, Urgency.NOW, "deletes records that were not read, from 14 hours"),
        ("ledger", {"error": "entry 3 is lost"}, Urgency.NOW, "entry 3 is lost"),
        ("consent", {"error": "another vault"}, Urgency.NOW, "another vault"),
        ("consent", {"expiring": {"H_NO_LINK": 7}}, Urgency.SOON, "7 readings that are held (H_NO_LINK) expire within a day"),
        ("consent", {"lagging": 2}, Urgency.SOON, "2 chains have a gap"),
        ("consent", {"alarms": 1}, Urgency.SOON, "1 records of the authority"),
        ("consent", {"owed": 1}, Urgency.SOON, "1 removals are owed"),
        ("quality", {"last_failure": FAILED, "days_left": {"sleep": 2}}, Urgency.SOON, "the job of sleep failed last"),
        ("quarantine", {"sleep": {"rows": None, "is_late": True}}, Urgency.SOON, "rows of sleep wait in quarantine"),
        ("alerts", {"standing": PAGE}, Urgency.SOON, "sleep does not stand well: PL-01 (alarm), job (alarm)"),
        ("alerts", {"receivers": [REFUSES]}, Urgency.SOON, "ops does not take alerts, 3 wait: status 500"),
        ("requests", {"refused": 2}, Urgency.SOON, "2 requests were refused"),
        ("requests", {"oldest": "2026-01-31T09:00:00Z"}, Urgency.SOON, "a request has waited for 3 hours"),
        ("requests", {"error": "it is damaged"}, Urgency.SOON, "it is damaged"),
        ("disks", {"vault": {"free": 9, "size": 100, "lasts_days": None}}, Urgency.SOON, "9% of the disk of the vault"),
        ("disks", {"lake": {"free": 50, "size": 100, "lasts_days": 3.0}}, Urgency.SOON, "for 3 days at the present rate"),
        ("disks", {"lake": {"free": 50, "size": 100, "lasts_days": 0.5}}, Urgency.NOW, "for 12 hours at the present rate"),
        ("disks", {"lake": {"free": 1, "size": 100, "lasts_days": None}}, Urgency.NOW, "1% of the disk of the lake"),
    ],
)  # fmt: skip
def test_each_problem_is_told_with_its_urgency(
    part: str, changed: dict[str, Any], urgency: Urgency, words: str
) -> None:
    (told,) = found(part, **changed)
    assert told[0] == urgency and words in told[2]


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("kafka", {"records": 5, "oldest_unread": "2026-01-31T11:59:30Z", "kept_until": "2026-02-07T12:00:00Z"}),
        ("quality", {"last_failure": FAILED}),
        ("quality", {"days_left": {"sleep": 2}}),
        ("disks", {"lake": {"free": 50, "size": 100, "lasts_days": None}}),
    ],
)
def test_what_is_usual_is_no_problem(part: str, changed: dict[str, Any]) -> None:
    assert found(part, **changed) == []


def test_the_urgent_come_first_and_records_that_wait_make_a_missing_driver_urgent() -> None:
    state = deepcopy(WELL)
    state["driver"], state["kafka"]["records"], state["consent"]["owed"] = {"state": "none"}, 3, 1
    told = problems(state, Settings())
    assert [(one.urgency, one.about) for one in told] == [(Urgency.NOW, "driver"), (Urgency.SOON, "consent")]
    assert "3 records wait" in told[0].what


def test_a_part_that_could_not_be_asked_keeps_no_rule_from_the_others() -> None:
    state = {
        name: {"error": f"{name}: away"} if name not in ("at", "driver", "disks") else part
        for name, part in WELL.items()
    }
    assert {one.about for one in problems(state, Settings())} == set(state) - {"at", "driver", "disks"} - {
        "consent"
    } | {"vault"}


def test_how_long_is_said_in_the_unit_that_fits() -> None:
    assert [spell(seconds) for seconds in (0, 119, 120, 7199, 7200, 172_799, 172_800)] == [
        "0 s", "119 s", "2 minutes", "120 minutes", "2 hours", "48 hours", "2 days",
    ]  # fmt: skip
