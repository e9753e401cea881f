"""Which of the files in a watched place may be taken now, and what the others wait for."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from connectors.watch_manifest import SUFFIXES, FileFault, Manifest, NamePattern, is_manifest, parse_manifest
from connectors.watch_place import Item, Place, may_be_whole

UNKNOWN = "no manifest is beside it"
UNSETTLED = "it may still be growing"
TOO_SHORT = "it is shorter than its manifest says"
AWAY = "what it needs was not there; it is tried again"


class Dropped(NamedTuple):
    """A file, and the manifests beside it: none where its name says enough, several by mistake."""

    item: Item
    manifests: tuple[Item, ...] = ()


class Rules(NamedTuple):
    """How files are taken: after `settle_s` without a change; by their name where there is a pattern; of one partner
    only where one is named."""

    settle_s: float = 5.0
    names: NamePattern | None = None
    partner: str | None = None


def sorted_out(items: Iterable[Item], rules: Rules) -> tuple[list[Dropped], dict[str, str]]:
    """The files that may be taken, in the order in which they came, and by name what the others wait for."""
    by_name = {item.name: item for item in items if may_be_whole(item.name)}
    ready, waiting = [], {}
    for name, item in by_name.items():
        if is_manifest(name):
            continue
        dropped = Dropped(item, _beside(name, by_name))
        if not dropped.manifests and (rules.names is None or rules.names.manifest(name) is None):
            waiting[name] = UNKNOWN
        elif min(one.age_s for one in (item, *dropped.manifests)) < rules.settle_s:
            waiting[name] = UNSETTLED
        else:
            ready.append(dropped)
    return sorted(ready, key=lambda one: (one.item.changed_us, one.item.name)), waiting


def _beside(name: str, by_name: Mapping[str, Item]) -> tuple[Item, ...]:
    return tuple(by_name[name + suffix] for suffix in SUFFIXES if name + suffix in by_name)


def manifest_of(place: Place, dropped: Dropped, rules: Rules) -> Manifest:
    """What is said of a file; FileFault where that cannot be used."""
    if len(dropped.manifests) > 1:
        raise FileFault("it has two manifests")
    if dropped.manifests:
        name = dropped.manifests[0].name
        return parse_manifest(place.get(name) or b"", name, rules.partner)
    said = rules.names.manifest(dropped.item.name) if rules.names else None
    if said is None:
        raise FileFault("nothing says whose it is")
    return said


def judge_whole(manifest: Manifest, size: int, sha256: str) -> None:
    """FileFault where a file is not the one that its manifest was written for."""
    if manifest.size is not None and size != manifest.size:
        raise FileFault("size: the file is larger than its manifest says")
    if manifest.sha256 is not None and sha256 != manifest.sha256:
        raise FileFault("sha256: the file is not the one that its manifest was written for")
