"""Run suites: `python -m quality.suite_run PID`, a process that takes frames on its standard input and answers in counts.

It ends with the process of that number, which started it. Each frame is an Arrow stream whose schema carries its suite; they
are judged one after the other. The answer is one Arrow stream with the columns of CHECK_RESULT by the judge `suite`, whose
schema carries what could not be judged.
"""

import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple

import pyarrow as pa

from quality.suites import Suite
from schemas.families import CHECK_RESULT

JUDGE = "suite"
ALL = "all"
SUITE, FAILURES, CPU = b"suite", b"failures", b"cpu_s"
_LOOKS_S = 0.5
_POLITE = 10


class Failure(NamedTuple):
    """What could not be judged: a suite, one of its checks (empty for all of it), and the kind of error."""

    suite: str
    check: str
    error: str

    @property
    def is_of_all(self) -> bool:
        """Whether it was the whole process that failed, and not a suite of it."""
        return self.suite == ALL


class Answered(NamedTuple):
    """Rows of CHECK_RESULT, what could not be judged, and the seconds of CPU that judging took, imports apart."""

    results: pa.Table
    failures: list[Failure]
    cpu_s: float


# -- what is handed over


def write_frames(frames: Iterable[tuple[Suite, pa.Table]], to: IO[bytes]) -> None:
    """The frames one after the other."""
    for suite, table in frames:
        schema = table.schema.with_metadata({SUITE: suite.model_dump_json().encode()})
        with pa.ipc.new_stream(to, schema) as stream:
            stream.write_table(table.replace_schema_metadata(schema.metadata))


def read_frames(source: io.BufferedReader) -> Iterator[tuple[Suite, pa.Table]]:
    """Frame by frame, so that one is in memory at a time."""
    while source.peek(1):
        with pa.ipc.open_stream(source) as stream:
            yield Suite.model_validate_json(stream.schema.metadata[SUITE]), stream.read_all()


def write_answer(answered: Answered, to: IO[bytes]) -> None:
    said = {FAILURES: json.dumps(answered.failures).encode(), CPU: repr(answered.cpu_s).encode()}
    table = answered.results.replace_schema_metadata(said)
    with pa.ipc.new_stream(to, table.schema) as stream:
        stream.write_table(table)


def read_answer(source: IO[bytes]) -> Answered:
    with pa.ipc.open_stream(source) as stream:
        table, said = stream.read_all(), stream.schema.metadata
    failures = [Failure(*one) for one in json.loads(said[FAILURES])]
    return Answered(table.replace_schema_metadata(None), failures, float(said[CPU]))


# -- judging


def run(frames: Iterable[tuple[Suite, pa.Table]]) -> Answered:
    """Judge frames by their suites. A suite that fails is said by the kind of its error, and the next one is judged."""
    from quality.suite_gx import judge  # takes seconds

    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    began = time.process_time()
    for suite, table in frames:
        try:
            found, failed = judge(table, suite)
        except Exception as error:  # its text may show what a person's rows hold
            failures.append(Failure(suite.name, "", type(error).__name__))
            continue
        failures += [Failure(suite.name, check, "NotEvaluated") for check in failed]
        rows += [_row(suite, *one) for one in found]
    return Answered(pa.Table.from_pylist(rows, CHECK_RESULT.schema), failures, time.process_time() - began)


def _row(suite: Suite, of: Any, n_eval: int, n_fail: int, n_na: int, people: int) -> dict[str, Any]:
    about = {"judge": JUDGE, "family": suite.family, "check": of.check, "version": of.version, "start": of.start}
    return {**about, "n_eval": n_eval, "n_fail": n_fail, "n_na": n_na, "people": people, "entry": 0}


def _end_with(parent: int) -> None:
    """End as soon as whoever started it is gone, however that was: nobody would read the answer."""
    while os.getppid() == parent:
        time.sleep(_LOOKS_S)
    os._exit(1)


def main() -> None:
    """Nothing but the answer is written to standard output, whatever a library prints."""
    os.nice(_POLITE)
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with open(sys.stdin.fileno(), "rb", closefd=False) as frames:
            write_answer(run(read_frames(frames)), out)


if __name__ == "__main__":
    main()
