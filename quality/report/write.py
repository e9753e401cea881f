"""Reports as files."""

from datetime import date
from pathlib import Path

from quality.desk import LakeDesk
from quality.report.numbers import report_of
from quality.report.page import page
from quality.whole_file import write_whole


def write_report(desk: LakeDesk, study: str, day: date, folder: Path) -> Path:
    """Leave the report of a study's day in the folder as `<study>-<day>.html`; where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{study}-{day.isoformat()}.html"
    write_whole(path, page(report_of(desk, study, day)))
    return path
