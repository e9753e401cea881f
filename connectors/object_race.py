"""Does a server let exactly one of many create an object: asked of it by racing, since a look one after the other passes
servers that check without a lock, and acknowledge what they then lose."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

from connectors.objects import Objects
from connectors.source_file import StorageFailed

WRITERS = 8
KEYS = 20
_WAIT_S = 60.0


class StorageUnfit(StorageFailed):
    """The server does not keep a promise without which what it acknowledges is lost."""


def race(objects: Objects, prefix: str, writers: int = WRITERS, keys: int = KEYS) -> None:
    """StorageUnfit where more than one of them creates a key, none does, or another's content lies there.

    What is written goes again, with its versions. Takes about a second.
    """
    names = [f"{prefix}{uuid.uuid4().hex}-{number}" for number in range(keys)]
    try:
        if not objects.put_new(names[0], b"first") or objects.put_new(names[0], b"second"):
            raise StorageUnfit(_told(objects, "it takes no notice of If-None-Match"))
        for name in names[1:]:
            _race_for(objects, name, writers)
    finally:
        versions = objects.keeps_versions()
        for name in names:
            (objects.delete_versions if versions else objects.delete)(name)


def _race_for(objects: Objects, name: str, writers: int) -> None:
    line = threading.Barrier(writers)

    def write(number: int) -> bool:
        line.wait(_WAIT_S)
        return objects.put_new(name, f"{number}".encode())

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(lambda _: objects.get(name), range(writers)))  # so that each has its connection when it starts
        won = list(pool.map(write, range(writers)))
    winners = [number for number, has_won in enumerate(won) if has_won]
    if len(winners) > 1:
        raise StorageUnfit(_told(objects, "it checks If-None-Match without a lock"))
    if not winners or objects.get(name) != f"{winners[0]}".encode():
        raise StorageUnfit(_told(objects, "what it acknowledges is not what lies there"))


def _told(objects: Objects, fault: str) -> str:
    return objects.session.words.saying(
        f"the server ({{endpoint}}) lets several writers create one object ({fault}), so commits would be acknowledged "
        "and lost: use a server that holds If-None-Match under a race, such as AWS S3, Ceph, MinIO or versitygw"
    )
