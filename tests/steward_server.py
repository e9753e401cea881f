"""The desk as a process of its own, over a lake that is a handful of tables and does what it is asked: for browsers.

`python -m tests.steward_server` says its port on standard output, and serves until it is ended.
"""

import json
import sys
from collections.abc import Mapping
from datetime import timedelta
from time import time
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc

from quality.chosen import condition
from quality.desk import Answer
from quality.web.serve import listen, serve
from quality.web.visit import stratum_of
from schemas.families import DECISION
from tests.desks import FakeDesk
from tests.steward_world import NOW, desk
from tests.stewards import app_over

WAITS_S = 1.5
"""So long a request waits for its answer, so that a page has to look again."""


class ActingDesk(FakeDesk):
    """Carries out proposals, approvals, releases and discards at once, and says so a little later."""

    def request(self, kind: str, study: str, about: Mapping[str, Any], by: str, reason: str) -> str:
        super().request(kind, study, about, by, reason)
        id = uuid4().hex
        proposal = self._decided(study, str(about.get("proposal", "")))
        said = {**(json.loads(proposal["about"]) if proposal else {}), **about}
        moves = kind in ("release", "discard") or (kind == "approve" and "decision" in said)
        rows = self._move(study, said) if moves else 0
        self._note(study, id, kind, by, proposal["by"] if proposal else None, said, reason, rows)
        self.done = {**getattr(self, "done", {}), id: (time() + WAITS_S, rows)}
        return id

    def answer(self, request: str) -> Answer:
        at, rows = self.done[request]
        return Answer(request, "done" if time() >= at else "waiting", rows, len(self.asked))

    def _decided(self, study: str, id: str) -> dict[str, Any] | None:
        found = self.tables[study]["decision"].filter(pc.field("decision") == id).to_pylist()
        return found[0] if found else None

    def _move(self, study: str, about: Mapping[str, Any]) -> int:
        """Takes the rows out of quarantine; how many they were."""
        fields = {name: [str(value)] for name, value in about.items() if name != "rows"} | {
            "row": about.get("rows", [])
        }
        where, values = condition(stratum_of(fields))
        before = self.tables[study]["quarantine"]
        left = self.query(study, f"SELECT * FROM quarantine WHERE NOT coalesce({where}, false)", values)
        self.tables[study]["quarantine"] = left.select(before.schema.names).cast(before.schema)
        return int(before.num_rows - left.num_rows)

    def _note(self, study: str, id: str, kind: str, by: str, second: Any, about: Any, reason: str, rows: int) -> None:
        row = {
            "decision": id,
            "kind": kind,
            "start": NOW + timedelta(seconds=len(self.asked)),
            "by": by,
            "second": second,
            "check": about.get("check"),
            "about": json.dumps(about),
            "reason": reason,
            "rows": rows,
            "entry": 100 + len(self.asked),
        }
        made = pa.Table.from_pylist([row], schema=DECISION.schema)
        self.tables[study]["decision"] = pa.concat_tables([self.tables[study]["decision"], made])


def main() -> None:
    made = desk()
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    app = app_over(ActingDesk(made.facts, made.tables), NOW.timestamp, port=port)
    print(port, flush=True)
    serve(app, listener)


if __name__ == "__main__":
    sys.exit(main())
