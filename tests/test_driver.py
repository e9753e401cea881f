from pathlib import Path

import pytest

from pipelines import driver as module
from pipelines.driver import Driver
from schemas.registry import RegistryError
from tests.worlds import lay_out


def test_a_driver_that_cannot_leave_in_good_order_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    def fail() -> None:
        closed.append("tables")
        raise OSError

    driver = Driver(lay_out(tmp_path, "127.0.0.1:1").settings)
    driver.ledger.takeover(1, {})
    driver._stack.callback(fail)
    monkeypatch.setattr(driver.tables, "save", fail)
    monkeypatch.setattr(module, "close_readers", lambda: closed.append("readers"))
    for name in ("register", "holds"):
        part = getattr(driver, name)
        monkeypatch.setattr(part, "close", lambda name=name, close=part.close: (close(), closed.append(name)))
    with pytest.raises(OSError):  # noqa: PT011  # the test's own
        driver.close()
    assert closed == ["tables", "tables", "readers", "holds", "register"]


def test_where_a_partner_could_speak_as_the_authority_no_driver_begins(tmp_path: Path) -> None:
    world = lay_out(tmp_path, "127.0.0.1:1")
    with pytest.raises(RegistryError, match="another name than the consent authority's"):
        Driver(world.settings.model_copy(update={"authority": world.partner}))
