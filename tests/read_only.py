"""Commands on a root file system that is read-only, without any capability, as in a container: Linux's own mount name
spaces do it, where this user may make one."""

import os
import shlex
import subprocess
from functools import cache
from pathlib import Path

PLACE = Path("/mnt")
"""Where the one writable folder is seen."""

_SCRIPT = """
set -eu
mount --make-rprivate /
mount --bind {work} /mnt
cut -d' ' -f2 /proc/self/mounts | grep -vE '^/(mnt|proc|sys|dev)(/|$)' | sort -u | while read -r place; do
  mount -o remount,bind,ro "$place" 2>/dev/null || true
done
cd {folder}
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"
"""


@cache
def can_be_made() -> bool:
    """Whether this user may make such a place."""
    done = subprocess.run(["unshare", "--mount", "mount", "--make-rprivate", "/"], capture_output=True, check=False)
    return done.returncode == 0


def run_read_only(
    words: list[str], work: Path, environment: dict[str, str], timeout_s: float = 180
) -> subprocess.CompletedProcess[str]:
    """The command in `/`, with nothing to write to but `work`, which it finds at /mnt; its TMPDIR is /mnt/tmp."""
    (work / "tmp").mkdir(exist_ok=True)
    script = _SCRIPT.format(work=shlex.quote(str(work)), folder="/")
    own = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "TMPDIR": "/mnt/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *words],
        env={**own, **environment}, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
