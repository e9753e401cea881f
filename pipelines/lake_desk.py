"""The lake as stewards and the judgement see it: `quality.desk.LakeDesk` over tables, ledger and vault.

One session of DuckDB for each study is kept: it opens the study's own live files and no other, it is locked, and it is
made anew once an entry of the ledger has changed one of these tables. Nothing here changes a table.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import date
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines import requests
from pipelines.audit_objects import audit_of
from pipelines.consent.participants import enrolled, kits
from pipelines.consent.register import FILE as REGISTER
from pipelines.consent.register import Register
from pipelines.entries import LakeError, now_us
from pipelines.files import study_and_family, table_key
from pipelines.keys import KeyRing
from pipelines.ledger import Ledger
from pipelines.live_tables import LiveTables
from pipelines.outcomes import Outcomes
from pipelines.places import store_of
from pipelines.settings import Settings
from pipelines.vault import Vault, vault_of
from pipelines.views import answer_of, connect, lock, make_view
from pipelines.zones import DAY_US
from quality.chosen import condition
from quality.desk import Answer, RowPage, Seen, Stratum, StudyFacts
from quality.job.times import day_number, moment
from schemas.families import FAMILIES, QUARANTINE, WAVEFORM
from schemas.registry import Study, load_studies

MEMORY = "512MB"
"""What a session holds of its own at once; of what is more it spills. The driver has the desk beside a plan's memory."""
LOOKED_BACK = 1_000
"""Entries among which the answer to another process's request is looked for."""


class _Session(NamedTuple):
    """A locked session, the folder that it spills to, and the views that it has by now, each as of a version."""

    duckdb: Any
    spill: TemporaryDirectory[str]
    views: dict[str, int]

    def close(self) -> None:
        self.duckdb.close()
        self.spill.cleanup()


class LakeDesk:
    """Implements `quality.desk.LakeDesk`. Any thread may call it; queries take turns. `close` it.

    A query has as many threads as there are cores, or `threads`, each of which needs memory for what it reads. A driver's
    desk looks into the driver's own `vault`; any other into what the driver has kept.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], int] = now_us,
        threads: int | None = None,
        vault: Vault | None = None,
    ) -> None:
        self._vault, self._own_vault = vault or vault_of(settings), vault is None
        self._settings, self._clock, self._threads = settings, clock, threads
        self._registered = load_studies(settings.studies)
        self._store = store_of(settings.lake)
        self._ledger = Ledger(self._store)
        self._tables = LiveTables(self._store, self._ledger)
        self._keys = KeyRing(self._vault)
        self._audit = audit_of(self._vault)
        self._sessions: dict[str, _Session] = {}
        self._asked: dict[str, int] = {}
        self._turn = threading.RLock()

    def close(self) -> None:
        """Close every session."""
        self.release()
        if self._own_vault:
            self._vault.close()

    def release(self) -> None:
        """Give back what the sessions hold; whoever asks next opens one anew."""
        with self._turn:
            while self._sessions:
                self._sessions.popitem()[1].close()

    def studies(self) -> dict[str, StudyFacts]:
        """The registered studies by id."""
        return {study.id: _facts(study) for study in self._registered.values()}

    # -- questions

    def query(self, study: str, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """The answer to one SELECT over the study's views, of which `quarantine` shows every row that waits.

        QueryRefused for anything else; LakeError for a study that is not registered.
        """
        with self._turn:
            session = self._session(study)
            self._make_views(session, study, sql)
            return answer_of(session.duckdb, sql, parameters)

    def history(self, study: str, first: date, last: date, check: str | None = None) -> pa.Table:
        """How checks went on the days from `first` to `last`, both of them in it; columns as the Protocol says."""
        months = (f"{first:%Y-%m}", f"{last:%Y-%m}")
        days = (moment(day_number(first)), moment(day_number(last) + 1))
        one = [check] if check else []
        return self.query(study, _HISTORY_OF_ONE if check else _HISTORY, [*months, *days, *one] * 2)

    def rows(self, study: str, stratum: Stratum, limit: int = 100, offset: int = 0) -> RowPage:
        """Rows that wait, in order of their start; `row` is key64 as 16 hexadecimal digits."""
        where, parameters = condition(stratum)
        counted = self.query(study, f"SELECT count(*) AS n FROM quarantine WHERE {where}", parameters)
        found = self.query(
            study,
            f"SELECT *, {ROW} AS row FROM quarantine WHERE {where} ORDER BY start, key64 LIMIT ? OFFSET ?",
            [*parameters, limit, offset],
        )
        return RowPage(found, counted.column("n")[0].as_py())

    def _session(self, study: str) -> _Session:
        """The study's session over the files that are live now."""
        if study not in self._registered:
            raise LakeError("no study of that name is registered")
        for table in self._tables.refresh():
            if session := self._sessions.pop(study_and_family(table)[0], None):
                session.close()
        if study not in self._sessions:
            self._sessions[study] = self._open(study)
        return self._sessions[study]

    def _open(self, study: str) -> _Session:
        spill = TemporaryDirectory(prefix="wellspring-desk-")
        duckdb = connect(spill.name, self._store)
        duckdb.execute("SET parquet_metadata_cache = true")  # a file never changes
        duckdb.execute("SET enable_external_file_cache = false")
        duckdb.execute(f"SET memory_limit = '{MEMORY}'")
        if self._threads:
            duckdb.execute(f"SET threads = {self._threads}")
        lock(duckdb, [path for family in FAMILIES for path in self._paths(study, family)])
        return _Session(duckdb, spill, {})

    def _paths(self, study: str, family: str) -> list[str]:
        return [self._store.uri(file.path) for file in self._tables.files(table_key(study, family))]

    def _make_views(self, session: _Session, study: str, sql: str) -> None:
        """Those that the query may name; what is besides the tables is asked anew where it has changed."""
        asked = sql.lower()
        for name, family in FAMILIES.items():
            if name in asked and name not in session.views:
                blocks = name == WAVEFORM.name  # the judgement reads their integers, which are a fraction
                make_view(session.duckdb, self._paths(study, name), name, family, with_counts=blocks)
                if name == QUARANTINE.name:  # every row waits for a decision, whatever came of its record since
                    session.duckdb.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM {name}_all")
                session.views[name] = 0
        if "enrolled" in asked or "kit" in asked:
            self._know_participants(session, study)
        if "outcome" in asked:
            self._know_outcomes(session, study)

    def _know_participants(self, session: _Session, study: str) -> None:
        registered, key = self._registered[study], self._keys.key(study)
        with closing(Register(self._vault.read(REGISTER))) as register:
            version = register.version
            if session.views.get("enrolled") != version:
                session.duckdb.register("enrolled", enrolled(register, registered, key))
                session.duckdb.register("kit", kits(register, registered, key))
                session.views["enrolled"] = version

    def _know_outcomes(self, session: _Session, study: str) -> None:
        head = self._ledger.head()
        n, today = head.n if head else 0, self._clock() // DAY_US
        if (session.views.get("outcome"), session.views.get("today")) != (n, today):
            with closing(Outcomes(self._vault, self._ledger)) as outcomes:
                session.duckdb.register("outcome", outcomes.of(study, today))
            session.views.update(outcome=n, today=today)

    # -- requests

    def request(self, kind: str, study: str, about: Mapping[str, Any], by: str, reason: str) -> str:
        """Leave a request for the driver; its id. LakeError where no driver has ever run on the lake."""
        head = self._ledger.head()
        selection = requests.selection_of(study, by, reason, about)
        asked = requests.ask(self._ledger, kind, selection, self._clock())
        self._asked[asked.id] = head.n if head else 0
        return asked.id

    def answer(self, request: str) -> Answer:
        """What became of a request; of an old one that another process left, what the table of decisions knows."""
        there = next((asked for asked in requests.everything(self._store) if asked.id == request), None)
        if there is not None:  # asked before the ledger: what is gone has all of its entries by then
            refused = there.request.refused if there.request else ""
            return Answer(request, "refused" if refused else "waiting", words=refused)
        rows, last = 0, None
        head = self._ledger.head()
        before = self._asked.get(request, max(0, (head.n if head else 0) - LOOKED_BACK))
        for entry in self._ledger.entries(before + 1):
            mark: Any = entry.cause.get("request")
            if mark and mark["id"] == request:
                count = entry.cause.get("rows")
                rows, last = rows + (count if isinstance(count, int) else 0), entry.n
        if last is None and request not in self._asked:
            return self._decided(request)
        return Answer(request, "done", rows, last)

    def _decided(self, request: str) -> Answer:
        for study in self._registered:
            found = self.query(study, 'SELECT "rows", entry FROM decision WHERE decision = ?', [request]).to_pylist()
            if found:
                return Answer(request, "done", found[0]["rows"], found[0]["entry"])
        return Answer(request, "refused", words="no request of this id is known any more")

    # -- the audit

    def audit(self, seen: Seen) -> None:
        """Note for good that something was decided or seen."""
        self._audit.note(seen)

    def audited(self, study: str, limit: int = 200) -> list[Seen]:
        """The newest lines of the study's audit first. AuditBroken where it is not as it was written."""
        return self._audit.newest(study, limit)


ROW = "lower(lpad(hex(key64), 16, '0'))"
"""A row's number, in SQL."""

_OF_DAYS = "month BETWEEN ? AND ? AND start >= ? AND start < ?"
_STRATUM = 'CAST(start AS DATE) AS day, partner, family, metric, device_model, firmware, "check", version'
_BOTH = """
SELECT 'gate' AS judge, {stratum}, CAST(sum(n_eval) AS BIGINT) AS n_eval, CAST(sum(n_fail) AS BIGINT) AS n_fail,
  CAST(sum(n_na) AS BIGINT) AS n_na
FROM check_count WHERE {where} GROUP BY ALL
UNION ALL BY NAME
SELECT judge, {stratum}, n_eval, n_fail, n_na, people, people_failing, people_passing, most_of_one, measure
FROM check_result WHERE judge <> 'gate' AND {where}"""
_HISTORY = _BOTH.format(stratum=_STRATUM, where=_OF_DAYS)
_HISTORY_OF_ONE = _BOTH.format(stratum=_STRATUM, where=f'{_OF_DAYS} AND "check" = ?')


def _facts(study: Study) -> StudyFacts:
    return StudyFacts(study.id, study.title or study.id, study.smallest_cell, study.active_from, study.active_until)
