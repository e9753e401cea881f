"""HL7 v2, the answers: what each message of a file would be acknowledged with. Nothing is sent to anybody."""

from collections import Counter

from connectors.hl7v2_messages import Message

ACCEPTED, ERROR, REJECTED = "AA", "AE", "AR"


class Answers:
    """By the message's number in the file from 1, HL7 table 0008.

    AA: each of its observations was published; AE: not each of them; AR: it reports no results, or its header cannot
    be read.
    """

    def __init__(self) -> None:
        self._codes = bytearray()

    def note(self, message: Message) -> None:
        """A message was read to its end."""
        self._codes += (b"A" if not message.faults else b"E") if message.reports else b"R"

    def failed(self, number: int) -> None:
        """A message's results were read, maybe not all of them yet, and not all of those could be published."""
        self._codes += b"E" * (number - len(self._codes))
        if self._codes[number - 1] == ord("A"):
            self._codes[number - 1] = ord("E")

    def code(self, number: int) -> str:
        """What the message is answered with."""
        return {ord("A"): ACCEPTED, ord("E"): ERROR, ord("R"): REJECTED}[self._codes[number - 1]]

    def counts(self) -> Counter[str]:
        """How many messages are answered so."""
        found = {ACCEPTED: b"A", ERROR: b"E", REJECTED: b"R"}
        return Counter({name: count for name, code in found.items() if (count := self._codes.count(code))})

    def first(self, code: str, most: int = 20) -> list[int]:
        """The first messages that are answered so."""
        return [number for number in range(1, len(self._codes) + 1) if self.code(number) == code][:most]
