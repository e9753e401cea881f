"""Running the demo's pipeline until nothing is left to do, and telling each entry."""

from typing import Any

from pipelines.demo.narrator import Narrator, counted
from pipelines.driver import Driver
from pipelines.entries import Entry, Kind
from pipelines.follow import work_off


def run_out(driver: Driver, narrator: Narrator) -> None:
    """Cycle, and do what was asked for, until nothing is left; each entry is told as soon as it is applied."""
    with narrator.working("running the pipeline") as tell:
        driver.on_step = lambda step: tell(f"running the pipeline: {step}", 0, 0)
        work_off(driver)


def entry_line(entry: Entry) -> str:
    """What an entry did."""
    counts: Any = entry.counts
    if entry.kind == Kind.RECALL:
        return f"ledger entry {entry.n}: {entry.kind}, rows taken from the table into quarantine: {entry.cause['rows']}"
    if entry.kind == Kind.JUDGE and "study" in entry.cause:
        days = counted(int(str(entry.cause["days"])), "day")
        return f"ledger entry {entry.n}: {entry.kind}, {days} of {entry.cause['study']}"
    if "decision" in entry.cause:
        rows = counted(int(str(entry.cause["rows"])), "row")
        return f"ledger entry {entry.n}: {entry.kind}, about {rows} in quarantine ({entry.cause['decision']})"
    if not counts:
        return f"ledger entry {entry.n}: {entry.kind}"
    readings, studies = counts["readings"], counts["studies"].values()
    read = counted(readings["decoded"], "reading")
    waits = f" ({', '.join(sorted(counts['held']))})" if counts["held"] else ""
    there, landed = (sum(study[outcome] for study in studies) for outcome in ("duplicate", "landed"))
    came_of_it = f"{readings['rejected']:,} rejected, {readings['held']:,} held{waits}, {there:,} there already"
    return f"ledger entry {entry.n}: {entry.kind} of {read}, {came_of_it}, {counted(landed, 'row')} landed"
