"""wellspring quarantine list|show|decisions|release|discard|recall|replay|propose|approve|decline."""

import json
from typing import Annotated, Any, Literal

import typer

from pipelines.commands.common import AsJson, Config, Refused, say, show_rows
from pipelines.commands.deciding import Asked, Seen
from pipelines.commands.signing_in import Desk, chosen, signed_in
from quality.checks import checks
from quality.chosen import condition
from quality.coarse import count_told
from quality.desk import Stratum
from quality.suppression import withheld_rows

app = typer.Typer(
    help="What waits for a steward, and what stewards decide about it: the desk without a browser.",
    no_args_is_help=True,
)

Study = Annotated[str, typer.Option(help="The study.", show_default=False)]
By = Annotated[str, typer.Option("--by", help="Who you are, as the users file has it.", show_default=False)]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="FIELD=VALUE, several of which must all hold: check, family, metric, partner, device_model, firmware, day, "
        "or row for rows by their numbers.",
        show_default=False,
    ),
]
Reason = Annotated[str, typer.Option(help="Why, in words that name no participant.", show_default=False)]
Expected = Annotated[
    int | None,
    typer.Option(
        min=1, help="How many rows you were shown; without it you are shown them and asked.", show_default=False
    ),
]
Fingerprint = Annotated[
    str | None,
    typer.Option(help="Which rows you were shown, as --dry-run says it.", show_default=False),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would change, change nothing.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Leave it to the driver as a request, and end.")]
Proposal = Annotated[str, typer.Argument(help="The proposal's id, as `decisions` lists it.", show_default=False)]

_CODES = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage."


# -- what waits, and what was decided


@app.command("list", epilog=f"{_CODES} Example: wellspring quarantine list --study sleep --by ada")
def list_(study: Study, by: By, where: Where = None, config: Config = None, as_json: AsJson = False) -> None:
    """How many rows wait, by check, metric, partner, device model and day; no values, and nothing of too few people."""
    with signed_in(config, by, "view", study) as desk:
        rows = _waiting(desk, study, chosen(where, everything=True))
        if not desk.user.may("rows", study):  # a part less another part may be a few people
            rows = [{**row, "rows": None} for row in rows]
        smallest = desk.lake.studies()[study].smallest_cell
    show_rows("waiting", rows, as_json)
    if any(row["rows"] is None for row in rows):
        say(f"without a number: fewer than {smallest} people, or what would give them away")


_NAMES = ("metric", "partner", "device_model", "day")
_WAITING = """
WITH held AS (
  SELECT c.name AS "check", q.metric, q.partner, q.device_model, CAST(q.start AS DATE) AS day, q.pseudonym, count(*) AS n
  FROM (SELECT * FROM quarantine WHERE {where}) AS q LEFT JOIN (SELECT unnest(?) AS name, unnest(?) AS mask) AS c
    ON q.flags & c.mask <> 0 OR q.recalled IN (SELECT entry FROM decision WHERE kind = 'recall' AND "check" = c.name)
  GROUP BY ALL
)
SELECT "check", metric, partner, device_model, day, CAST(sum(n) AS BIGINT) AS n, count(*) AS people,
  max(n) AS most_of_one
FROM held GROUP BY ALL ORDER BY ALL"""


def _waiting(desk: Desk, study: str, stratum: Stratum) -> list[dict[str, Any]]:
    """Rows by what they failed, one that failed two checks at both, rounded by what one person may have.

    Of too few people it is not said how many.
    """
    where, values = condition(stratum)
    known = [(check.id, check.mask) for check in checks().values()]
    masks = [[name for name, _ in known], [mask for _, mask in known]]
    found = desk.lake.query(study, _WAITING.format(where=where), [*values, *masks]).to_pylist()
    least = desk.lake.studies()[study].smallest_cell
    hidden = withheld_rows([row["people"] for row in found], least)
    told = [
        None if hides else count_told(row["n"], row["most_of_one"], least)
        for row, hides in zip(found, hidden, strict=True)
    ]
    return [
        {"check": row["check"], **{name: row[name] for name in _NAMES}, "rows": number}
        for row, number in zip(found, told, strict=True)
    ]


_SHOWN = (
    *("row", "pseudonym", "family", "metric", "value", "code", "unit", "start", "end"),
    *("partner", "device_model", "firmware", "flags", "recalled", "received", "entry"),
)


@app.command(epilog=f"{_CODES} Example: wellspring quarantine show --study sleep --where check=PL-00 --by ada")
def show(
    study: Study,
    by: By,
    where: Where = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most rows shown.")] = 20,
    offset: Annotated[int, typer.Option(min=0, help="Rows passed over.")] = 0,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """The rows themselves, with values and pseudonyms: that you have seen them is noted in the study's audit."""
    stratum = chosen(where, everything=True)
    with signed_in(config, by, "rows", study) as desk:
        desk.note(study, "rows", {**stratum.as_json(), "limit": limit, "offset": offset})
        page = desk.lake.rows(study, stratum, limit, offset)
    rows = [{name: row[name] for name in _SHOWN} for row in page.rows.to_pylist()]
    show_rows(f"{len(rows)} of {page.total} rows", rows, as_json)


@app.command(epilog=f"{_CODES} Example: wellspring quarantine decisions --study sleep --by ada --json")
def decisions(study: Study, by: By, config: Config = None, as_json: AsJson = False) -> None:
    """What was decided and proposed in the study, by whom and why; of which rows, to those only who may see them."""
    with signed_in(config, by, "view", study) as desk:
        rows = desk.lake.query(study, "SELECT * EXCLUDE (month) FROM decision ORDER BY entry").to_pylist()
        if not desk.user.may("rows", study):
            rows = [_without_rows(row) for row in rows]
    show_rows("decisions", rows, as_json)


_OF_WHICH = ("rows", "expected", "fingerprint")


def _without_rows(row: dict[str, Any]) -> dict[str, Any]:
    """A decision without which rows it is about and how many: they may be one person's."""
    about = {name: value for name, value in json.loads(row["about"]).items() if name not in _OF_WHICH}
    return {**{name: value for name, value in row.items() if name != "rows"}, "about": json.dumps(about)}


# -- decisions


def _about_rows(kind: str, words: str, example: str) -> None:
    """Make the command of a decision about rows."""

    def command(
        study: Study,
        reason: Reason,
        by: By,
        where: Where = None,
        expected: Expected = None,
        fingerprint: Fingerprint = None,
        dry_run: DryRun = False,
        no_wait: NoWait = False,
        config: Config = None,
        as_json: AsJson = False,
    ) -> None:
        stratum = chosen(where)
        with signed_in(config, by, "decide", study) as desk:
            Asked(desk, kind, study, reason, as_json).of_rows(stratum, Seen(expected, fingerprint), dry_run, no_wait)

    app.command(kind, help=words, epilog=f"{_CODES} Example: wellspring quarantine {kind} --study sleep {example}")(
        command
    )


_about_rows(
    "release",
    "Let rows into their table; whoever's consent does not let them in by now, their rows stay.",
    '--where check=PL-01 --where day=2026-11-20 --reason "seen on the film" --by ada --dry-run',
)
_about_rows(
    "discard",
    "Take rows away for good: sent again, they do not come back.",
    '--where firmware=1.2.3 --reason "a broken firmware" --by ada --expected 120',
)
_about_rows(
    "recall",
    "Take landed rows back into quarantine; of a check, those that it flagged.",
    '--where device_model=A1 --where day=2026-11-20 --reason "the strap was loose" --by ada',
)
_about_rows(
    "replay",
    "Have the records of rows that wait judged again, by today's catalogue and consent.",
    '--where check=PL-00 --reason "the range was wrong" --by ada',
)


@app.command(
    epilog=f"{_CODES} Example: wellspring quarantine propose discard --study sleep --where check=PL-00 "
    '--reason "no heart beats so" --by ada'
)
def propose(
    decision: Annotated[Literal["release", "discard"], typer.Argument(help="What is proposed.", show_default=False)],
    study: Study,
    reason: Reason,
    by: By,
    where: Where = None,
    expected: Expected = None,
    fingerprint: Fingerprint = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Propose what is done with rows that failed a critical check; another person approves it."""
    stratum = chosen(where)
    with signed_in(config, by, "propose", study) as desk:
        asked, seen = Asked(desk, "propose", study, reason, as_json), Seen(expected, fingerprint)
        asked.of_rows(stratum, seen, dry_run, no_wait, decision=decision)


def _is_by(desk: Desk, study: str, proposal: str) -> bool:
    """Whether the proposal is the user's own."""
    sql = """SELECT 1 AS one FROM decision WHERE kind = 'propose' AND decision = ? AND "by" = ?"""
    return bool(desk.lake.query(study, sql, [proposal, desk.user.name]).num_rows)


def _settles(kind: Literal["approve", "decline"], words: str, example: str) -> None:
    """Make a command that settles a proposal."""

    def command(
        proposal: Proposal,
        study: Study,
        reason: Reason,
        by: By,
        no_wait: NoWait = False,
        config: Config = None,
        as_json: AsJson = False,
    ) -> None:
        with signed_in(config, by, "approve" if kind == "approve" else "propose", study) as desk:
            if not desk.user.may("approve", study) and not _is_by(desk, study, proposal):
                raise Refused("it takes an approver, or who has proposed it, to decline it")
            Asked(desk, kind, study, reason, as_json).leave({"proposal": proposal}, no_wait)

    told = f"{_CODES} Example: wellspring quarantine {kind} {'0123456789abcdef' * 2} --study sleep {example}"
    app.command(kind, help=words, epilog=told)(command)


_settles("approve", "Approve what another person has proposed: it is done at once.", '--reason "seen too" --by bob')
_settles("decline", "Let a proposal come to nothing: another's, or your own.", '--reason "they may be true" --by bob')
