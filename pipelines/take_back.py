"""Recall by stewards, and by the job that judges after the commit: landed rows go to quarantine, where they are decided."""

from dataclasses import replace

from pipelines.chosen_rows import landed
from pipelines.decided import Decision, change, refuse_others, valid
from pipelines.driver import Driver
from pipelines.entries import Kind, RequestRefused
from pipelines.recall import to_quarantine
from pipelines.requests import Change
from quality.checks import checks
from quality.chosen import Chosen, Fingerprint
from quality.desk import THE_JOB, Stratum


class _Recalled(Chosen):
    """The landed rows that are taken back, and how many and which they were when somebody looked, if anybody did."""

    expected: int | None = None
    fingerprint: Fingerprint | None = None


def take_back(driver: Driver, decision: Decision) -> Change | None:
    """The change that takes the chosen rows back; None where a job asks for what is not there any more.

    A job does not take back what people have released: it would find the same again and again.
    """
    recalled, by_job = valid(_Recalled, decision.about), decision.by == THE_JOB
    found = landed(driver, decision.study, _meant(decision, recalled.stratum), undecided=by_job)
    if not found.parts and by_job:
        return None
    if not found.parts:
        raise RequestRefused("there are no such rows in the study's tables")
    refuse_others(found.chosen, recalled.expected, recalled.fingerprint)
    replaced = to_quarantine(driver, decision.study, found.parts)
    return change(driver, decision, Kind.RECALL, decision.about, rows=found.chosen.rows, replaced=replaced)


def _meant(decision: Decision, stratum: Stratum) -> Stratum:
    """The rows that are meant: of a check those that it flagged, but what a later job found is about all of the rest."""
    check = stratum.check
    if check is None or (decision.by != THE_JOB and checks()[check].mask):
        return stratum
    meant = replace(stratum, check=None)
    if not meant.as_json():
        raise RequestRefused("this check flags no rows: say which rows are meant")
    return meant
