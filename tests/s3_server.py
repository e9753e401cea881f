"""A real S3 server for tests: that of the measurements, which is built into the user's cache once where Go is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local_s3 import MODULE, VERSION, LocalS3
from tests.go_programs import go_program

S3Server = LocalS3


def versitygw() -> Path | None:
    """The server's program; None where it is not to be had."""
    return go_program(MODULE, VERSION)


@contextmanager
def s3_server(program: Path, folder: Path, bucket: str = "uploads") -> Iterator[S3Server]:
    """A server with one bucket, which ends with the block."""
    server = S3Server(program, folder, bucket)
    try:
        server.up()
        yield server
    finally:
        server.kill()
