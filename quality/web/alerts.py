"""The test button: whether those who are alerted of a study can be told at all."""

from collections.abc import Callable, Sequence

from starlette.responses import Response

from quality.web.visit import Visit

TestAlerts = Callable[[str], Sequence[tuple[str, str]]]
"""Tells those who hear of a study that this is a test: each one's name, and why it was not told, empty where it was."""


def try_out(visit: Visit) -> Response:
    """Tell everybody who hears of the study, and say how it went."""
    visit.note("alerts test", {})
    tried = visit.test_alerts(visit.study.id) if visit.test_alerts else ()
    return visit.page("alerts.html", tried=tried)
