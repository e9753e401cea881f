"""What the demo shows at its end: what came in, what became of it, the law, answers, and where to look next."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from pipelines.demo.narrator import Narrator
from pipelines.demo.questions import QUESTIONS
from pipelines.demo.show_quality import show_quality
from pipelines.demo.stage import Performance
from pipelines.demo.stewards import STEWARD
from pipelines.demo.sums import Law
from pipelines.demo.tables import table
from schemas.barcodes import in_groups
from schemas.reasons import REASON_MEANING, Code, Reason

_WITHHELD = {
    Code.NO_AUTHORITY: "no live grant named the metric when it came",
    Code.OUTSIDE_WINDOW: "taken at a time that was not agreed to",
}
_SETTLED = {
    "quarantined": "held back by a check, for stewards",
    "duplicate": "there already",
    "landed": "in the study's tables",
}


def show(performance: Performance, narrator: Narrator) -> None:
    """The whole report, for people."""
    counts = performance.sums.as_json()
    _came_in(counts, narrator)
    _outcomes(counts, narrator)
    narrator.title("The law, over all entries of the ledger")
    for law in performance.laws:
        narrator.tick(_sum(law), law.holds)
    narrator.tick(
        "every sum is the one that was counted from the story, before the pipeline saw it", performance.as_told
    )
    report = performance.report
    files = sum(one.files for one in report.tables.values())
    narrator.tick(
        f"lake check: {report.entries} entries, {len(report.tables)} tables and {files} files agree", report.is_sound
    )
    for question, rows in performance.answers.items():
        narrator.title(question)
        narrator.say(f"[dim]{QUESTIONS[question]}[/]")
        narrator.console.print(table(rows))
    narrator.title("The kit's way, by UTC")
    narrator.console.print(table([{event["event"]: _minute(event["at"]) for event in performance.way}]))
    show_quality(performance.inspection, narrator)


def _minute(moment: str) -> str:
    """A moment without its year and seconds."""
    return moment[5:16].replace("T", " ")


def _came_in(counts: dict[str, Any], narrator: Narrator) -> None:
    records, readings, holds = counts["records"], counts["readings"], counts["holds"]
    narrator.title("What came in")
    narrator.say(f"{records['read']:,} records: {records['decoded']:,} messages, {records['rejected']} rejected whole")
    narrator.say(f"{readings['decoded']:,} readings in them: {readings['rejected']} rejected")
    narrator.say(
        f"{holds['opened']:,} readings held for people not yet known; {holds['released']:,} released when links, a grant "
        f"and a kit's activation came, {holds['open']:,} still wait"
    )
    rows = [
        {"rejected": reason, "count": count, "because": REASON_MEANING[Reason(reason)]}
        for reason, count in counts["rejected"].items()
    ]
    narrator.console.print(table(rows))


def _outcomes(counts: dict[str, Any], narrator: Narrator) -> None:
    narrator.title("What became of the readings, study by study")
    studies = counts["studies"]
    codes = sorted({code for sums in studies.values() for code in sums["withheld"]})
    rows = [{"outcome": "considered", **{name: sums["considered"] for name, sums in studies.items()}, "because": ""}]
    for code in codes:
        shares = {name: sums["withheld"].get(code, 0) for name, sums in studies.items()}
        rows.append({"outcome": f"withheld, {code}", **shares, "because": _WITHHELD.get(Code(code), "")})
    for outcome, meaning in _SETTLED.items():
        rows.append({"outcome": outcome, **{name: sums[outcome] for name, sums in studies.items()}, "because": meaning})
    narrator.console.print(table(rows))


def _sum(law: Law) -> str:
    parts = " + ".join(f"{count:,} {name}" for name, count in law.parts.items())
    return f"{law.name}: {law.total:,} = {parts}"


def next_commands(config: Path, barcode: str, running: bool) -> list[str]:
    """What to try now, ready to be typed; `barcode` is the kit's."""
    command, option = _command(), f"--config {shlex.quote(str(config))}"
    query = "select metric, count(*), avg(value) from shiftwork_observation group by all"
    results = "select metric, value, comparator, status, revision, start from cyclelab_lab_result_all order by all"
    shown = [
        f"{command} ledger list {option}",
        f'{command} lake sql "{query}" {option}',
        f'{command} lake sql "{results}" {option}',
        f"{command} kits show {in_groups(barcode)} {option}",
        f"{command} lake check {option}",
        f"{command} consent status {option}",
        f"{command} report --study pilot --html report.html {option}",
        f"{command} quarantine list --study pilot --by {STEWARD} {option}",
        f"{command} steward {option}",
    ]
    follow = f"{command} run --follow {option}"
    if running:
        return [*shown, follow, f"{command} kafka down {option}"]
    return [*shown, f"{command} kafka up {option}", follow]


def _command() -> str:
    """The command as it was called, where it was called by its name."""
    called = Path(sys.argv[0])
    on_path = shutil.which("wellspring")
    if called.name != "wellspring" or (on_path and Path(on_path).absolute() == called.absolute()):
        return "wellspring"
    return shlex.quote(str(called))
