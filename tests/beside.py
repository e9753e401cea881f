"""The same records in another lake: what an undisturbed driver in one process makes of a world's topics."""

import shutil
from collections import Counter
from contextlib import closing
from dataclasses import replace
from typing import Any

import yaml

from pipelines.settings import load_settings
from pipelines.vault import FolderVault, vault_of
from tests.torture import STUDIES
from tests.worlds import World, number_of

_OF_THE_LAKE = ("entry",)
_OF_THE_RECORD = ("origin", "received")


def beside(world: World) -> World:
    """A deployment with the same topics and keys, embedded, and a lake in a folder that knows of nothing yet."""
    folder = world.folder.parent / "beside"
    folder.mkdir()
    for name in ("partners.yaml", "studies.yaml"):
        shutil.copy(world.folder / name, folder / name)
    with closing(vault_of(world.settings)) as vault:
        for key in (f"keys/{study}.key" for study in STUDIES):
            FolderVault(folder / "vault").create(key, vault.secret(key) or b"")
    content = yaml.safe_load(world.config.read_text(encoding="utf-8"))
    content.pop("runner", None)
    config = folder / "wellspring.yaml"
    config.write_text(yaml.safe_dump({**content, "lake": "lake", "vault": "vault"}), encoding="utf-8")
    return replace(world, folder=folder, config=config, settings=load_settings(config), bucket=None)


def compare(world: World, other: World, repeated: set[int]) -> dict[str, int]:
    """The other's driver works off the same topics; how many rows there are, and how many only one of the two has.

    Of readings that were sent twice, the one that was held may land after its repetition: those are the same whichever
    record they came in.
    """

    def said(row: dict[str, Any]) -> str:
        left_out = _OF_THE_LAKE + (_OF_THE_RECORD if number_of(row["value"]) in repeated else ())
        return repr({name: value for name, value in row.items() if name not in left_out})

    other.work()
    compared = differing = 0
    for study in STUDIES:
        for view in ("observation", "quarantine"):
            found, wanted = (Counter(map(said, each.rows(study, view=view))) for each in (world, other))
            compared += wanted.total()
            differing += ((found - wanted) + (wanted - found)).total()
    return {"compared": compared, "differing": differing}
