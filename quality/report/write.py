"""Reports as files."""

import os
from datetime import date
from pathlib import Path

from quality.desk import LakeDesk
from quality.report.numbers import report_of
from quality.report.page import page


def write_report(desk: LakeDesk, study: str, day: date, folder: Path) -> Path:
    """Leave the report of a study's day in the folder as `<study>-<day>.html`; where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{study}-{day.isoformat()}.html"
    write_whole(path, page(report_of(desk, study, day)))
    return path


def write_whole(path: Path, text: str) -> None:
    """Write a file, or leave what was there: never half of it. OSError where it cannot be written."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
