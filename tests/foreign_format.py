"""The format of the guide "Add a format", laid out in a folder as an installed distribution of somebody else's is."""

import tomllib
from pathlib import Path

from tests.documents import PARTNERS, ROOT, files

EXAMPLES = ROOT / "connectors" / "examples"
NAME = "withings-weight"
HEAD = 'Date,"Weight (kg)","Fat mass (kg)","Bone mass (kg)","Muscle mass (kg)","Hydration (kg)",Comments\n'


def install(folder: Path) -> Path:
    """What `pip install` makes of the guide's files; the folder is to be on the path where Python looks for modules."""
    package, info = folder / "withings_weight", folder / "withings_weight-1.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text((EXAMPLES / "withings_weight.py").read_text(encoding="utf-8"))
    (package / f"{NAME}.yaml").write_text((EXAMPLES / f"{NAME}.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads(files(PARTNERS)["pyproject.toml"])["project"]
    lines = [
        f"[{group}]\n{name} = {module}\n"
        for group, own in project["entry-points"].items()
        for name, module in own.items()
    ]
    (info / "entry_points.txt").write_text("".join(lines))
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    return folder
