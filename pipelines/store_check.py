"""Whether a bucket may hold a lake or a vault: asked once of each server and bucket, by a race, before anything is
written that has to last."""

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.store import FolderStore, Store

KEY = "_control/store-check.json"
PROBES = "_control/probe/"

VERSIONS = (
    "keeps versions: what is deleted here is deleted with its versions, but old versions of what is rewritten "
    "(signs of life, every 2 s) stay until a rule of the bucket lets them expire, and copies of the bucket keep what an "
    "erasure removes. Better: a bucket without versions, or a rule that lets old versions expire after a day"
)


class _Passed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    where: str


def check_store(store: Store, say: Callable[[str], None]) -> None:
    """StorageUnfit where the server may lose what it acknowledges, which one race a server and bucket tells.

    `say` hears of a bucket that keeps versions. A folder needs no check.
    """
    if isinstance(store, FolderStore):
        return
    from connectors.object_race import race  # loads the SDK, which a folder does without
    from pipelines.object_store import ObjectStore

    if not isinstance(store, ObjectStore):
        return
    if store.versioned:
        say(f"{store.objects.called.bucket} {VERSIONS}")
    now = _Passed(where=store.objects.where)
    if _passed(store) != now:
        race(store.objects, PROBES)
        store.put(KEY, now.model_dump_json().encode())


def _passed(store: Store) -> _Passed | None:
    data = store.get(KEY)
    try:
        return _Passed.model_validate_json(data) if data is not None else None
    except ValidationError:
        return None
