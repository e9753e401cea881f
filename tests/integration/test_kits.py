"""Kits on a real broker: their events are published by the command, read by the driver, and told."""

import json
from pathlib import Path
from typing import Any

from infra.local_kafka import Address
from schemas.barcodes import in_groups, issue
from tests.worlds import World, make_world

LABORATORY = {"contracts": ["sensor-reading", "kit-event"]}


def written(world: World, name: str, *rows: dict[str, Any]) -> str:
    path = world.folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def told(world: World, *words: str) -> list[dict[str, Any]]:
    ended = world.execute(*words, "--json")
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def status(world: World) -> dict[str, Any]:
    (found,) = told(world, "kits", "status")
    return found


def test_what_happened_to_a_kit_is_published_read_and_told(tmp_path: Path, broker: Address) -> None:
    world = make_world(tmp_path, broker.bootstrap, partner=LABORATORY)
    barcode = issue()
    typed = in_groups(barcode).lower()
    events = written(
        world,
        "events.ndjson",
        {"barcode": barcode, "event": "received", "when": "2026-06-03T09:00:00+02:00", "laboratory": "north"},
        {"barcode": typed, "event": "collected", "when": "2026-06-01T07:00:00+02:00", "site": "nose"},
    )
    for _ in range(2):  # sent twice, it is the same
        (receipt,) = told(world, "kits", "publish", events, "--partner", world.partner)
        assert receipt == {"file_lines": 2, "published": 2, "by_kind": {"collected": 1, "received": 1}}
    assert status(world)["kits"] == 0, "nobody has read them yet"
    world.work()
    expected = {"kits": 1, "by_last_event": {"received": 1}, "contradicted": 0, "in_conflict": 0, "not_understood": 0}
    assert expected.items() <= status(world).items()
    shown = told(world, "kits", "show", typed)
    assert [(row["at"], row["event"]) for row in shown] == [
        ("2026-06-01T05:00:00Z", "collected"),
        ("2026-06-03T07:00:00Z", "received"),
    ]
    links = [
        {"kind": "link", "link_id": f"{barcode}-{member}", "partner": "kit", "subject": typed, "member": member}
        for member in ("m1", "m2")
    ]
    told(world, "consent", "publish", written(world, "links.ndjson", *links))
    world.work()
    assert status(world)["in_conflict"] == 1
    world.assert_sound()
