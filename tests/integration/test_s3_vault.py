"""A vault in a bucket of a real S3 server: what is landed, held and decided is as with one in a folder.

Nothing on the machine is needed but for the life of a process, and a driver that ends at any step loses nothing.
"""

import shutil
import stat
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.local_kafka import Address
from pipelines.consent import kept_register
from pipelines.driver import Driver
from pipelines.entries import Fenced
from pipelines.holds import Holds
from pipelines.lake_desk import LakeDesk
from pipelines.progress import DataGone
from pipelines.vault import vault_of
from quality.desk import Seen
from tests.s3_server import S3Server
from tests.worlds import World, make_world, once, work_off

GARBAGE = (b"x", b"no message")
STEPS = ("planned", "ran", "manifest", "append.done", "apply.committed", "told", "held", "kept")


class Crash(Exception):
    """A driver that ends at a step."""


@pytest.fixture
def world(broker: Address, s3: S3Server, tmp_path: Path) -> World:
    return make_world(tmp_path / "world", broker.bootstrap, vault_bucket=s3.bucket, compact_files=3)


def held(world: World) -> int:
    with closing(vault_of(world.settings)) as vault, closing(Holds(vault, 1, 1)) as holds:
        return sum(holds.open_readings().values())


def objects(s3: S3Server, *names: str) -> list[Path]:
    """The vault's objects below a folder of it."""
    folder = s3.bucket.joinpath("vault", *names)
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_what_waits_and_what_is_known_outlives_the_machine(world: World, s3: S3Server) -> None:
    world.consent(world.link("mia"), world.grant("mia", "sleep"), world.link("ben"))
    world.publish(world.reading("mia", range(100)), world.reading("ben", range(100, 160)), GARBAGE)
    world.work()
    assert world.landed("sleep") == once(range(100)) and held(world) == 60
    shutil.rmtree(world.settings.vault_work)
    world.consent(world.grant("ben", "sleep"))
    world.work()
    assert world.landed("sleep") == once(range(160)) and held(world) == 0 and len(world.rejected()) == 1
    world.assert_sound()
    assert objects(s3, "runs") == [] and len(objects(s3, "holds")) == 2
    assert {name.parts[0] for name in objects(s3)} >= {"keys", "holds", "register", "vault-id"}
    assert not (world.folder / "vault").exists()


def test_nothing_of_it_stays_on_the_machine_and_nobody_else_reads_it_meanwhile(world: World) -> None:
    world.consent(world.link("mia"), world.grant("mia", "sleep"))
    world.publish(world.reading("mia", range(10)))
    work = world.settings.vault_work
    with world.driver() as driver:
        work_off(driver)
        (life,) = [path for path in work.iterdir() if path.is_dir()]
        assert [stat.S_IMODE(path.stat().st_mode) for path in (work, life)] == [0o700, 0o700]
    assert [path.name for path in work.iterdir()] == ["lock"]


@pytest.mark.parametrize("step", STEPS)
def test_a_driver_that_ends_at_a_step_is_followed_by_one_that_loses_nothing(
    world: World, s3: S3Server, step: str
) -> None:
    def end(at: str) -> None:
        if at == step:
            raise Crash

    world.consent(world.link("mia"), world.grant("mia", "sleep"))
    world.publish(world.reading("mia", range(50)), world.reading("ben", range(50, 60)), GARBAGE)
    with pytest.raises(Crash):
        world.work(on_step=end)
    world.consent(world.grant("ben", "sleep"), world.link("ben"))
    with pytest.raises(Crash):
        world.work(on_step=end)
    world.work()
    assert world.landed("sleep") == once(range(60)) and held(world) == 0
    world.assert_sound()
    assert objects(s3, "runs") == []


class TakenOverAt:
    """At the first time that a driver comes to a step, a newer one takes over and works everything off."""

    def __init__(self, world: World, step: str) -> None:
        self.world, self.step, self.happened = world, step, False

    def __call__(self, step: str) -> None:
        if step == self.step and not self.happened:
            self.happened = True
            self.world.publish(self.world.reading("ben", range(100, 105)))
            self.world.consent(self.world.link("ben"), self.world.grant("ben", "sleep"))
            with self.world.driver(take_over=True) as newer:
                work_off(newer)


@pytest.mark.parametrize("step", STEPS[2:])
def test_a_driver_that_was_overtaken_puts_nothing_older_in_a_newer_state_s_place(world: World, step: str) -> None:
    world.consent(world.link("mia"), world.grant("mia", "sleep"))
    with world.driver() as older:
        older.cycle()
        older.on_step = taken = TakenOverAt(world, step)
        world.publish(world.reading("mia", range(50)), world.reading("ben", range(90, 95)), GARBAGE)
        with pytest.raises(Fenced):
            work_off(older)
        assert taken.happened
    world.publish(world.reading("mia", range(50, 60)))
    world.work()
    assert world.landed("sleep") == once([*range(60), *range(90, 95), *range(100, 105)]) and held(world) == 0
    world.assert_sound()


def test_what_another_driver_settled_before_it_was_overtaken_is_taken_in(world: World) -> None:
    with world.driver() as older, closing(Driver(world.settings)) as newer:
        world.publish(world.reading("ben", range(10)))
        work_off(older)
        newer.start(take_over=True)
        world.consent(world.link("ben"), world.grant("ben", "sleep"))
        work_off(newer)
    assert world.landed("sleep") == once(range(10)) and held(world) == 0
    world.assert_sound()


def test_holds_that_are_an_older_copy_are_refused(world: World, s3: S3Server) -> None:
    world.publish(world.reading("ben", range(10)))
    world.work()
    world.publish(world.reading("ben", range(10, 20)))
    world.work()
    (s3.bucket / "vault" / "holds" / objects(s3, "holds")[-1]).unlink()
    with pytest.raises(DataGone, match="the vault lacks what entry .* held and rejected: it is an older copy"):
        world.work()


def test_an_older_register_follows_from_where_it_is(
    world: World, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that was killed has kept its register up to a minute ago; what was held by a look at a newer one is
    looked at again."""
    monkeypatch.setattr(kept_register, "KEEP_EVERY_S", 0.0)
    world.consent(world.link("mia"), world.grant("mia", "sleep"))
    world.publish(world.reading("mia", range(10)), world.reading("ben", range(10, 20)))
    world.work()
    kept = s3.bucket / "vault" / "register"
    old = kept / objects(s3, "register")[-1]
    content = old.read_bytes()
    with world.driver() as driver:
        for person in ("eve", "zoe", "kim", "lou"):
            world.consent(world.link(person), world.grant(person, "sleep"))
            driver.cycle()
        world.publish(world.reading("eve", range(20, 30)))
        work_off(driver)  # keeps the holds, and with them up to where they were looked at
    shutil.rmtree(kept)
    kept.mkdir()
    old.write_bytes(content)
    world.consent(world.link("ben"), world.grant("ben", "sleep"), world.withdraw("mia", "sleep"))
    world.publish(world.reading("mia", range(30, 40)))
    world.work()
    assert world.landed("sleep") == once(range(30)) and held(world) == 0
    world.assert_sound()


def test_the_desk_sees_what_the_driver_has_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_register, "KEEP_EVERY_S", 0.0)
    world.work()
    with closing(LakeDesk(world.settings)) as desk:
        assert desk.query("sleep", "SELECT count(*) AS n FROM enrolled").to_pylist() == [{"n": 0}]
        world.consent(world.link("mia"), world.grant("mia", "sleep"))
        world.publish(world.reading("mia", range(10)))
        world.work()
        assert desk.query("sleep", "SELECT count(*) AS n FROM enrolled").to_pylist() == [{"n": 1}]
        assert desk.query("sleep", "SELECT sum(n) AS n FROM outcome").to_pylist() == [{"n": 10}]


def test_what_was_seen_is_in_the_audit_for_every_desk(world: World) -> None:
    world.work()
    with closing(LakeDesk(world.settings)) as one, closing(LakeDesk(world.settings)) as other:
        for desk, who in ((one, "ada"), (other, "bob"), (one, "eve")):
            desk.audit(Seen(datetime.now(UTC), who, "sleep", "rows", {"page": 1}))
        assert [seen.by for seen in other.audited("sleep")] == ["eve", "bob", "ada"]


def test_the_vault_has_an_identity_of_its_own(world: World, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(f"WELLSPRING_VAULT_{name}", value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-else")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nobody-s")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-theirs")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    world.consent(world.link("mia"), world.grant("mia", "sleep"))
    world.publish(world.reading("mia", range(10)))
    world.work()
    assert world.landed("sleep") == once(range(10))
