"""wellspring-worker: the program by which a runner has its workers.

A TaskManager calls it with `--id` and `--provision_endpoint` for each worker (`workers: process`), as it would call the
program in one of Beam's containers; `--pool PORT` gives out workers for as long as it runs (`workers: external`).
"""

import argparse

from pipelines.spared import spare
from pipelines.worker_pool import serve


def main(arguments: list[str] | None = None) -> None:
    """Be a worker, or a pool of them."""
    parser = argparse.ArgumentParser(prog="wellspring-worker", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pool", type=int, metavar="PORT", help="give out workers on this port, on every interface")
    parser.add_argument("--id", help="the worker's name")
    parser.add_argument("--provision_endpoint", help="host:port that tells it the rest")
    asked, _ = parser.parse_known_args(arguments)
    spare()
    if asked.pool is not None:
        serve(asked.pool)
    if not (asked.id and asked.provision_endpoint):
        parser.error("give --pool, or both --id and --provision_endpoint")
    from pipelines.worker import work

    work(asked.id.strip("'"), asked.provision_endpoint)  # Prism writes the name as for a shell, and asks none


if __name__ == "__main__":
    main()
