"""How much of an older table is written anew at once."""

from pipelines.compaction import DEFAULT
from pipelines.files import DataFile
from pipelines.upgrade import _jobs

WAVEFORM = "study=sleep/waveform"
MB = 1024 * 1024


def file(number: int, rows: int, size: int, month: str = "2025-01") -> DataFile:
    path = f"{WAVEFORM}/month={month}/{number:012d}-1-{number:032x}.parquet"
    return DataFile(path=path, table=WAVEFORM, month=month, rows=rows, bytes=size, start_min_us=None, start_max_us=None)


def test_files_are_taken_together_as_far_as_a_compaction_takes_them_in_rows_and_in_bytes() -> None:
    large = [file(number, 7_000, 180 * MB) for number in range(1, 7)]
    small = [file(number, 10, MB) for number in range(10, 20)]
    many = [file(number, 3_000_000, MB) for number in range(20, 23)]
    assert [len(job.files) for job in _jobs(WAVEFORM, large, DEFAULT)] == [1] * 6
    assert [len(job.files) for job in _jobs(WAVEFORM, small, DEFAULT)] == [10]
    assert [len(job.files) for job in _jobs(WAVEFORM, many, DEFAULT)] == [1, 1, 1]
    assert [job.month for job in _jobs(WAVEFORM, [file(1, 1, 1), file(2, 1, 1, "2025-02")], DEFAULT)] == [
        "2025-01",
        "2025-02",
    ]
