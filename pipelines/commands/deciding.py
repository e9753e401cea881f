"""What somebody at the desk decides: shown first, then left for the driver, and what came of it."""

import sys
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import typer

from pipelines.commands.asking import leave
from pipelines.commands.common import Refused, put, say, show_rows
from pipelines.commands.run import put_entry
from pipelines.commands.signing_in import Desk
from pipelines.entries import Entry
from pipelines.requests import selection_of
from quality.chosen import Effect, effect, names_somebody, recall_effect
from quality.desk import Stratum


class Seen(NamedTuple):
    """How many rows somebody was shown, and which, as far as they say."""

    rows: int | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class Asked:
    """What somebody at the desk asks of the driver."""

    desk: Desk
    kind: str
    study: str
    reason: str
    as_json: bool

    def of_rows(self, stratum: Stratum, seen: Seen, dry_run: bool, no_wait: bool, **more: str) -> None:
        """Show what it would change, which the audit has before, and if that is what is wanted, have it done."""
        chosen = {**stratum.as_json(), **({"rows": len(stratum.rows)} if stratum.rows else {})}
        self.desk.note(self.study, "preview", {"decision": self.kind, **more, **chosen})
        found = (recall_effect if self.kind == "recall" else effect)(self.desk.lake, self.study, stratum)
        if dry_run:
            self._show(found)
            return
        if found.needs_two and self.kind in ("release", "discard"):
            raise Refused(
                f"a critical check failed: two people decide, so `wellspring quarantine propose {self.kind}` it, and "
                "have it approved by another"
            )
        self._confirm(found, seen)
        about = {**more, **stratum.as_json(), "expected": found.rows, "fingerprint": found.fingerprint}
        self.leave(about, no_wait)

    def _show(self, found: Effect) -> None:
        if self.as_json:
            put(asdict(found))
            return
        people = "too few to say of how many people" if found.people is None else f"of {found.people} people"
        two = "; two people decide" if found.needs_two else ""
        say(f"{self.kind} would be about {found.rows} rows, {people}{two}")
        say(f"which rows they are: --fingerprint {found.fingerprint}")
        for name, counts in (("check", found.by_check), ("metric", found.by_metric), ("day", found.by_day)):
            show_rows(f"by {name}", [{name: key, "rows": count} for key, count in counts.items()], False)

    def _confirm(self, found: Effect, seen: Seen) -> None:
        """Refuse to go on unless these are the rows that somebody has seen."""
        if not found.rows:
            raise Refused("there are no such rows")
        if seen == Seen() and not sys.stdin.isatty():
            told = f"--expected {found.rows} --fingerprint {found.fingerprint}"
            raise Refused(f"it is about {found.rows} rows: look with --dry-run, then say {told}")
        if seen.rows not in (None, found.rows):
            raise Refused(f"what you were shown has changed: {found.rows} rows now")
        if seen.fingerprint not in (None, found.fingerprint):
            raise Refused("what you were shown has changed: as many rows, but not the same; look at them again")
        if seen == Seen():
            self._show(found)
            typer.confirm("is that what you want?", abort=True, err=True)

    def leave(self, about: dict[str, Any], no_wait: bool) -> None:
        """Leave the request, and wait for what becomes of it."""
        selection = selection_of(self.study, self.desk.user.name, self.reason, about)
        if names_somebody(self.reason):
            raise Refused("the reason names a participant: say why without a pseudonym")
        noted = {name: value for name, value in about.items() if name not in ("rows", "fingerprint")}
        self.desk.note(self.study, self.kind, {**noted, "reason": self.reason})
        tell = put_entry if self.as_json else _say_decided
        leave(self.desk.settings, self.kind, selection, no_wait, self.as_json, tell)


def _say_decided(entry: Entry) -> None:
    """What an entry did, in a line: a replay as readings, a decision as rows."""
    cause: dict[str, Any] = dict(entry.cause)
    if "released" not in cause:
        say(f"entry {entry.n} {entry.kind}: {cause.get('rows', 0)} rows")
        return
    stay = "".join(f", {count} stay ({code})" for code, count in cause["withheld"].items())
    there = f", {cause['duplicate']} were there already" if cause["duplicate"] else ""
    say(f"entry {entry.n} {entry.kind}: {cause['released']} rows released{there}{stay}")
