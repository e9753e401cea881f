"""A driver whose steps are told with what it is at: `redrive append.done`, `compact compacted`; and a test's doings there."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from pipelines.compaction import compact
from pipelines.driver import Driver
from pipelines.entries import Kind
from pipelines.plan import Plan, PlannedRange
from pipelines.settings import Settings

_BEGUN_BY = {"compacted": "compact", "judged": "judge"}


class Steps:
    """Hears of a driver's steps. `label` is the last one: what the driver was doing, and which step of it, with its
    number from the second time on."""

    def __init__(self) -> None:
        self.doing = "start"
        self.label = ""
        self._met: Counter[str] = Counter()

    def begin(self, doing: str) -> None:
        self.doing = doing
        self._met.clear()

    def __call__(self, step: str) -> None:
        if step in _BEGUN_BY:
            self.begin(_BEGUN_BY[step])
        self.label = f"{self.doing} {step}"
        self._met[self.label] += 1
        if self._met[self.label] > 1:
            self.label += f" {self._met[self.label]}"
        self.came()

    def came(self) -> None:
        """What a test does at a step."""


class Once(Steps):
    """Does something the first time that a driver comes to a step."""

    def __init__(self, target: str, do: Callable[[], None]) -> None:
        super().__init__()
        self._target, self._do = target, do
        self.happened = False

    def came(self) -> None:
        if self.label == self._target and not self.happened:
            self.happened = True
            self._do()


class SteppedDriver(Driver):
    """The driver, which also says what kind of entry it is at."""

    def __init__(self, settings: Settings, steps: Steps, **options: Any) -> None:
        super().__init__(settings, on_step=steps, **options)
        self._steps = steps

    def plan(self, kind: Kind, ranges: list[PlannedRange], **more: Any) -> Plan:
        self._steps.begin(str(kind))
        return super().plan(kind, ranges, **more)


@contextmanager
def heard_by(steps: Steps) -> Iterator[None]:
    """These steps hear of the driver that a command becomes in this process, and of `compact begun` besides."""

    def driver(settings: Settings, **options: Any) -> SteppedDriver:
        return SteppedDriver(settings, steps, **options)

    def compacting(*arguments: Any) -> Any:
        steps.begin("compact")
        steps("begun")
        return compact(*arguments)

    with patch("pipelines.driver.Driver", driver), patch("pipelines.driver.compact", compacting):
        yield
