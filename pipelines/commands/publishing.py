"""Publishing the lines of a file: every line is judged first, nothing is sent unless all are valid, and a receipt."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from connectors.publisher import Receipt
from pipelines.commands.common import Refused, put, say
from schemas.reasons import Rejected

T = TypeVar("T")
_LISTED = 10


class Lines(NamedTuple):
    """How a file's lines are told of: what was published, or would be, by kind."""

    by_kind: Counter[str]
    dry_run: bool

    def tell(self, as_json: bool) -> None:
        """The receipt: as JSON on standard output, or in a line for people."""
        lines, by_kind = self.by_kind.total(), dict(sorted(self.by_kind.items()))
        if as_json:
            put({"file_lines": lines, "published": 0 if self.dry_run else lines, "by_kind": by_kind})
        else:
            said = ", ".join(f"{count} {kind}" for kind, count in by_kind.items()) or "nothing"
            say(f"{'valid' if self.dry_run else 'published'}: {said}")


def lines_of(file: Path) -> list[str]:
    """The file's lines; Refused where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from None


def parsed(file: Path, parse: Callable[[str], T]) -> list[tuple[int, T]]:
    """What each line that is not blank says, with its number; Refused, with all faults counted, unless all are valid."""
    items, faults = [], []
    for number, line in enumerate(lines_of(file), start=1):
        if not line.strip():
            continue
        try:
            items.append((number, parse(line)))
        except Rejected as fault:
            faults.append(f"line {number}: {fault.path or 'line'}: expected {fault.expected}")
    if faults:
        more = f"\nand {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
        listed = "\n".join(faults[:_LISTED])
        raise Refused(f"{file}: nothing was sent, {len(faults)} lines are not valid:\n{listed}{more}")
    return items


def refuse_unconfirmed(receipts: Iterable[Receipt], of: int) -> None:
    """Refused where any message was not acknowledged: with the broker's reason, where it has given one."""
    told = list(receipts)
    count = sum(sum(receipt.reasons.values()) for receipt in told)
    if refused := list(dict.fromkeys(words for receipt in told for words in receipt.refusals)):
        raise Refused(f"{count} of {of} were not taken: {'; '.join(refused)}")
    if count:
        raise Refused(
            f"{count} of {of} were not acknowledged: publish the same file again, what has arrived stays as it is"
        )
