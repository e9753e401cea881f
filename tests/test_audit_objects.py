"""The audit of a vault in a bucket: a line an object, and none can be changed or taken away unseen."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.audit import Audit, AuditBroken
from pipelines.audit_objects import ObjectAudit
from pipelines.store import FolderStore
from quality.desk import Seen

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def seen(number: int, study: str = "sleep") -> Seen:
    return Seen(NOON + timedelta(minutes=number), f"user-{number}", study, "rows", {"page": number})


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def noted(store: FolderStore, count: int) -> ObjectAudit:
    audit = ObjectAudit(store)
    for number in range(count):
        audit.note(seen(number))
    return audit


def test_the_newest_lines_of_a_study_come_first_whoever_wrote_them(store: FolderStore) -> None:
    one, other = ObjectAudit(store), ObjectAudit(store)
    for number in range(6):
        (one, other)[number % 2].note(seen(number, "sleep" if number != 3 else "cycle"))
    assert one.newest("sleep", 3) == other.newest("sleep", 3) == [seen(5), seen(4), seen(2)]
    assert ObjectAudit(store).newest("cycle", 9) == [seen(3, "cycle")]


def test_two_that_write_at_one_moment_both_have_their_line(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    audit, put_new = noted(store, 2), store.put_new

    def first_another(key: str, data: bytes) -> None:
        monkeypatch.setattr(store, "put_new", put_new)
        ObjectAudit(store).note(seen(7))
        put_new(key, data)

    monkeypatch.setattr(store, "put_new", first_another)
    audit.note(seen(8))
    assert ObjectAudit(store).newest("sleep", 9) == [seen(8), seen(7), seen(1), seen(0)]


def change(store: FolderStore) -> None:
    line = json.loads(store.get("audit/000000000002.json") or b"")
    line["line"][2] = "nobody"
    store.put("audit/000000000002.json", json.dumps(line).encode())


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (change, "line 2 of the audit was changed"),
        (lambda store: store.put("audit/000000000002.json", b"{}"), "line 2 of the audit was changed"),
        (lambda store: store.delete("audit/000000000002.json"), "line 2 of the audit was changed or taken away"),
        (lambda store: store.delete("audit/000000000004.json"), "the last lines of the audit were taken away"),
    ],
)
def test_a_line_that_was_changed_or_taken_away_is_noticed(
    store: FolderStore, harm: Callable[[FolderStore], None], words: str
) -> None:
    noted(store, 4)
    harm(store)
    with pytest.raises(AuditBroken, match=words):
        ObjectAudit(store).newest("sleep", 1)


def test_what_was_read_is_not_fetched_again(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    audit, get, asked = noted(store, 4), store.get, list[str]()
    audit.newest("sleep", 1)
    monkeypatch.setattr(store, "get", lambda key: asked.append(key) or get(key))
    assert audit.newest("sleep", 1) == [seen(3)] and asked == []
    ObjectAudit(store).note(seen(4))
    asked.clear()
    assert audit.newest("sleep", 1) == [seen(4)] and asked == ["audit/000000000005.json"]


def test_it_is_copied_into_a_folder_and_back(store: FolderStore, tmp_path: Path) -> None:
    noted(store, 3)
    folder = Audit(tmp_path / "copy" / "audit.sqlite")
    for _ in range(2):  # what is there stays
        folder.take(ObjectAudit(store).lines())
    assert folder.newest("sleep", 9) == [seen(2), seen(1), seen(0)]
    folder.note(seen(3))
    back = ObjectAudit(FolderStore(tmp_path / "back"))
    back.take(folder.lines())
    back.note(seen(4))
    assert back.newest("sleep", 2) == [seen(4), seen(3)]
