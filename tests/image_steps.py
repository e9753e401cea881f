"""The image's steps without Docker: what its Dockerfile copies and runs is done in a folder, and what comes of it is tried.

    python -m tests.image_steps FOLDER

It fetches what the lock file names, so it takes minutes and is no part of the tests. What it cannot show: the base image.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.dockerfiles import Instruction, instructions, is_sent
from tests.documents import ROOT
from tests.read_only import run_read_only


def main(folder: Path) -> None:
    """Build as the first stage does, with /src and /opt in `folder`; then ask the command for help, on a read-only root."""
    folder = folder.absolute()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VIRTUAL_ENV")}
    environment["UV_SYSTEM_CERTS"] = "1"
    for one in instructions(ROOT / "infra" / "image" / "Dockerfile"):
        if one.stage == 1:
            _do(one, folder, environment)
    (folder / "work").mkdir()
    command = str(folder / "opt" / "wellspring" / "bin" / "wellspring")
    for words in (["--help"], ["contract", "check", "--help"], ["steward", "--help"]):
        done = run_read_only([command, *words], folder / "work", {})
        print(done.stdout.splitlines()[0] if done.returncode == 0 else done.stderr)
        if done.returncode:
            sys.exit(1)


def _do(one: Instruction, folder: Path, environment: dict[str, str]) -> None:
    if one.word == "ENV":
        environment.update(word.replace("/opt/", f"{folder}/opt/").split("=", 1) for word in one.arguments)
    elif one.word == "COPY":
        _copy(one.arguments, folder / "src")
    elif one.word == "RUN":
        line = one.text.replace("/opt/", f"{folder}/opt/").replace("python -m", f"{sys.executable} -m")
        print(f"$ {one.text}")
        subprocess.run(["sh", "-eu", "-c", line], cwd=folder / "src", env=environment, check=True)


def _copy(words: list[str], to: Path) -> None:
    """As COPY does it: a folder's content, or files; of what `docker build` sends."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for source in words[:-1]:
        for path in tracked:
            if (path == source or path.startswith(f"{source}/")) and is_sent(path, ROOT / ".dockerignore"):
                target = to / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((ROOT / path).read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
