"""Apple Health, what a zip may hold: limits, names that are refused, and which of its files may be the export."""

from collections.abc import Callable

from connectors.formats import FileRefused

MOST_XML_BYTES = 32 * 1024**3
MOST_RATIO = 200
"""How many times its packed size an XML may have: exports have ten to forty, a bomb a thousand."""
SMALL_BYTES = 64 * 1024 * 1024
"""What is no larger when unpacked may have any ratio."""
HEAD_BYTES = 128 * 1024
"""How much of a file is looked at to tell whether it is an export."""

TOO_MUCH = "the zip unpacks to far more than an export does"
NO_EXPORT = "the zip holds no export of Apple Health: there is no XML with a HealthData element in it"
CUT_BEFORE = "the zip is cut short or damaged, and what is left of it holds no export of Apple Health"
CUT_BEHIND = "the zip is cut short behind its export"
DAMAGED = "the zip is damaged: what it holds has another checksum than it says"
PACKED_OTHERWISE = "the zip is encrypted, or packed in a way that is not known here: unpack it, and give the .xml"


def too_much(unpacked: int, packed: int) -> bool:
    """Whether so many bytes out of so few are a bomb's."""
    return unpacked > MOST_XML_BYTES or unpacked > max(SMALL_BYTES, MOST_RATIO * packed)


def refuse_climbing(name: str) -> None:
    """FileRefused where a name leads out of the folder into which somebody might unpack the zip."""
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or not parts[0] or parts[0].endswith(":"):
        raise FileRefused("a name in the zip leads out of it, which no honest export's does")


def may_be_export(name: str) -> bool:
    """Whether a file of that name is worth a look: an XML that is neither a decoy of macOS nor the clinical document."""
    return kind_of(name) == _XML


_XML = "another .xml"
_KINDS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("__MACOSX/._*", lambda name: name.startswith("__macosx/") or name.rpartition("/")[2].startswith("._")),
    ("export_cda.xml", lambda name: name.endswith("_cda.xml")),
    ("workout-routes/*.gpx", lambda name: name.endswith(".gpx")),
    ("electrocardiograms/*.csv", lambda name: name.endswith(".csv")),
    ("clinical-records/*.json", lambda name: name.endswith(".json")),
    (_XML, lambda name: name.endswith(".xml")),
)


def kind_of(name: str) -> str:
    """What a file is by its name, in words that are ours: a file's own name could say anything."""
    return next((kind for kind, fits in _KINDS if fits(name.lower())), "other files")
