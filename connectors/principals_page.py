"""Who may do what in Kafka, for `infra/README.md`: `python -m connectors.principals_page --write`."""

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from connectors.principals import CONNECTOR, DRIVER, MIRROR, OPERATOR, Right, wanted_rights
from schemas.generated_page import Listing, table
from schemas.registry import Partner

PAGE = Path(__file__).parents[1] / "infra" / "README.md"
AUTHORITY = "<authority>"
_WHO = {
    DRIVER: "`run`: the driver; it uses no consumer group",
    CONNECTOR: "`connect`, `watch`, `kits publish`: what we publish for partners",
    MIRROR: "our own mirror, for partners with `received: header`",
    OPERATOR: "`topics create`, `kafka grant`, `partners add` and `remove`: as good as an administrator",
    AUTHORITY: "the consent authority, `consent publish`",
}


def listing() -> str:
    """A row for each principal and right, in Markdown, of a partner as most are and of one behind our mirror."""
    direct = Partner.model_construct(name="<partner>", contracts=("<contract>",), received="broker")
    mirrored = Partner.model_construct(name="<mirrored>", contracts=("<contract>",), received="header")
    rights = [right for right in wanted_rights([direct, mirrored], AUTHORITY) if not _is_repeated(right)]
    order = list(dict.fromkeys(right.principal for right in rights))
    rights.sort(key=lambda right: order.index(right.principal))
    return table(("principal", "who it is", "may"), _rows(rights)) + "\n"


def _is_repeated(right: Right) -> bool:
    """What is the same for every partner is shown for one."""
    return right.name.startswith("<mirrored>") and right.principal in (DRIVER, OPERATOR)


def _rows(rights: list[Right]) -> Iterator[tuple[str, str, str]]:
    for principal, own in groupby(rights, key=lambda right: right.principal):
        by_place = groupby(own, key=lambda right: right.words.partition(" on ")[2])
        may = [f"{', '.join(right.operation for right in same)} on {place}" for place, same in by_place]
        yield f"`{principal}`", _WHO.get(principal, _partner(principal)), "; ".join(map(_quoted, may))


def _partner(name: str) -> str:
    return "a partner" if name == "<partner>" else "a partner with `received: header`, for whom our mirror writes"


def _quoted(may: str) -> str:
    """`READ on topic a.b.v1` with the topic as code."""
    words = may.split(" ")
    if words[-2] in ("topic", "topics"):
        words[-1] = f"`{words[-1]}`"
    return " ".join(words)


PRINCIPALS = Listing("principals", "connectors.principals_page", listing)

if __name__ == "__main__":
    sys.exit(PRINCIPALS.main(["--page", str(PAGE), *sys.argv[1:]]))
