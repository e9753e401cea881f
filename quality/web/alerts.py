"""The test button: whether those who are alerted of a study can be told at all."""

from starlette.responses import Response

from quality.web.visit import Visit


def try_out(visit: Visit) -> Response:
    """Tell everybody who hears of the study, and say how it went."""
    visit.note("alerts test", {})
    tried = visit.test_alerts(visit.study.id) if visit.test_alerts else ()
    return visit.page("alerts.html", tried=tried)
