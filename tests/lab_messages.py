"""HL7 v2 files for tests, with planted names and planted faults, and what reading them must come to.

What is expected is written down while a file is made, fault by fault: nothing here asks the connector.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from tests.canaries import MARK

HEADER = r"MSH|^~\&|LIS^1.2.3^ISO|North Lab^10D0000000^CLIA|W|W|20240301120000+0100||{kind}|{id}|P|2.5.1"
PATIENT = f"{MARK}-patient"
NAMES = tuple(f"{MARK}-{who}" for who in ("patient", "mother", "guarantor", "insured", "performer", "director", "note"))
PID = f"PID|1||mrn-17^^^HOSP^MR~p-{{n}}^^^NL^PI||{MARK}-patient^Jane^^^^^L||19800101|F|||{MARK}-patient street^^Town"
BESIDE = (
    f"NK1|1|{MARK}-mother^Ann|MTH|{MARK}-mother street",
    f"GT1|1||{MARK}-guarantor^Bob",
    f"IN1|1|plan|17|company||||||||||||{MARK}-insured^Jane",
)


def message(*segments: str, kind: str = "ORU^R01^ORU_R01", number: int = 1, header: str = HEADER) -> str:
    """A message with CR behind every segment."""
    head = header.replace("{kind}", kind).replace("{id}", f"m{number}")
    return "".join(f"{segment}\r" for segment in (head, *segments))


def obr(number: int = 1, time: str = "20240229083000+0100") -> str:
    return f"OBR|1|ord-{number}|fil-{number}|57698-3^Lipids^LN|||{time}|||||||||7^{MARK}-performer^Dr"


def spm(barcode: str = "KIT1", collected: str = "20240229083000+0100", received: str = "20240301090000+0100") -> str:
    return f"SPM|1|{barcode}||119297000^Blood^SCT|||VENIP^Puncture^HL70488|368208006^Arm^SCT|||||||||{collected}|{received}"


def obx(value: str = "5.1", kind: str = "NM", number: int = 1, **fields: str) -> str:
    """An OBX; `fields` are others by number, as `f11="C"`."""
    given = {1: str(number), 2: kind, 3: "2345-7^Glucose^LN^GLU^Glucose^L", 5: value, 6: "mmol/L^^UCUM", 7: "3.9-5.6"}
    given |= {8: "N", 11: "F", 14: "20240229083000+0100", 16: f"9^{MARK}-performer^Dr", 17: "M1^Strip^99M"}
    given |= {23: f"{MARK}-performer org", 24: f"{MARK}-performer street", 25: f"3^{MARK}-director^Eve"}
    given |= {int(name[1:]): text for name, text in fields.items()}
    return "|".join(["OBX", *(given.get(place, "") for place in range(1, max(given) + 1))])


GOOD: dict[str, Callable[[int], str]] = {
    "number": lambda n: obx("5.10", number=n),
    "limit in a number": lambda n: obx("<5", number=n),
    "limit in a text": lambda n: obx(">= 10", "ST", number=n),
    "not detected": lambda n: obx("ND", "ST", number=n),
    "structured": lambda n: obx("^1^:^80", "SN", number=n),
    "coded": lambda n: obx("260373001^Detected^SCT^POS^Positive^L", "CWE", number=n),
    "short text": lambda n: obx("clear", "ST", number=n),
    "long text": lambda n: obx(r"one\.br\two~three", "FT", number=n),
    "date": lambda n: obx("20240214", "DT", number=n),
    "time": lambda n: obx("0830", "TM", number=n),
    "moment": lambda n: obx("202402140830+0100", "TS", number=n),
    "cannot be had": lambda n: obx("", "NM", number=n, f11="X"),
    "deleted": lambda n: obx("", "", number=n, f11="D"),
    "wrong": lambda n: obx("5.2", number=n, f11="W"),
    "preliminary": lambda n: obx("5.3", number=n, f11="P"),
    "corrected": lambda n: obx("5.4", number=n, f11="C"),
    "amended": lambda n: obx("5.5", number=n, f11="A"),
    "question": lambda n: obx("Y^Yes^HL70136", "CWE", number=n, f29="QST"),
    "local code alone": lambda n: obx(number=n, f3="GLU^Glucose^L"),
}
BAD: dict[str, tuple[str, Callable[[int], str]]] = {
    "status of an order": ("R_STATUS", lambda n: obx(number=n, f11="I")),
    "status unverified": ("R_STATUS", lambda n: obx(number=n, f11="R")),
    "no status": ("R_STATUS", lambda n: obx(number=n, f11="")),
    "empty": ("R_NO_VALUE", lambda n: obx("", number=n)),
    "null": ("R_NO_VALUE", lambda n: obx('""', number=n)),
    "blank text": ("R_NO_VALUE", lambda n: obx("  ", "ST", number=n)),
    "empty code": ("R_NO_VALUE", lambda n: obx("^^", "CWE", number=n)),
    "words as number": ("R_VALUE", lambda n: obx("five", number=n)),
    "decimal comma": ("R_VALUE", lambda n: obx("5,1", number=n)),
    "two numbers": ("R_VALUE", lambda n: obx("5~6", number=n)),
    "unequal": ("R_VALUE", lambda n: obx("<>^5", "SN", number=n)),
    "no date": ("R_VALUE", lambda n: obx("20240231", "DT", number=n)),
    "no time": ("R_VALUE", lambda n: obx("2560", "TM", number=n)),
    "code without a code": ("R_VALUE", lambda n: obx("^^SCT", "CWE", number=n)),
    "a name": ("R_VALUE_TYPE", lambda n: obx(f"{MARK}-patient^Jane", "XPN", number=n)),
    "a document": ("R_VALUE_TYPE", lambda n: obx("^PDF^^Base64^JVBERi0=", "ED", number=n)),
    "no type": ("R_VALUE_TYPE", lambda n: obx("5", "", number=n)),
    "no code": ("R_FIELD", lambda n: obx(number=n, f3="")),
    "long code": ("R_FIELD", lambda n: obx(number=n, f3="x" * 201)),
    "time that is none": ("R_NO_TIME", lambda n: obx(number=n, f14="DeIdentified")),
    "too large a number": ("R_NOT_FINITE", lambda n: obx("1e999", number=n)),
    "too long a text": ("R_TOO_LARGE", lambda n: obx("x" * 70_000, "TX", number=n)),
    "a long number": ("R_VALUE", lambda n: obx("1" * 201, number=n)),
    "two structured": ("R_VALUE", lambda n: obx("^1~^2", "SN", number=n)),
    "structured with a rest": ("R_VALUE", lambda n: obx("^1^x^9", "SN", number=n)),
    "range of words": ("R_VALUE", lambda n: obx("high^low", "NR", number=n)),
    "two dates": ("R_VALUE", lambda n: obx("20240101~20240102", "DT", number=n)),
    "no moment": ("R_VALUE", lambda n: obx("soon", "DTM", number=n)),
    "an address": ("R_VALUE_TYPE", lambda n: obx(f"{MARK}-patient street^^Town", "XAD", number=n)),
    "a telephone": ("R_VALUE_TYPE", lambda n: obx(f"{MARK}-patient phone", "XTN", number=n)),
    "a large document": ("R_VALUE_TYPE", lambda n: obx("^PDF^^Base64^" + "JVBERi0=" * 15_000, "ED", number=n)),
    "long unit": ("R_FIELD", lambda n: obx(number=n, f6="x" * 201)),
    "long sub-id": ("R_FIELD", lambda n: obx(number=n, f4="x" * 201)),
    "long range": ("R_FIELD", lambda n: obx(number=n, f7="x" * 1001)),
    "long flag": ("R_FIELD", lambda n: obx(number=n, f8="x" * 201)),
    "long method": ("R_FIELD", lambda n: obx(number=n, f17="x" * 201)),
    "a day of zeros": ("R_NO_TIME", lambda n: obx(number=n, f14="00000000")),
    "too large a limit": ("R_NOT_FINITE", lambda n: obx("<1e999", "ST", number=n)),
    "a text larger than any": ("R_TOO_LARGE", lambda n: obx("x" * 110_000, "TX", number=n)),
    "letters of the code": ("R_ENCODING", lambda n: obx(number=n, f3="gr\udcfcn")),
    "bytes of no letter": ("R_ENCODING", lambda n: obx("\\XFF\\", "ST", number=n)),
    "other letters": ("R_ENCODING", lambda n: obx("gr\udcfcn", "ST", number=n)),
    "other set": ("R_ENCODING", lambda n: obx(r"\C2842\a", "ST", number=n)),
}
"""By name: why it must be refused, and the segment. A byte that is no UTF-8 stands as its surrogate."""


@dataclass
class Expected:
    """What reading a file must come to."""

    published: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    beside: int = 0
    answers: Counter[str] = field(default_factory=Counter)


@cache
def file_with_faults(seed: int, messages: int = 140) -> tuple[bytes, Expected]:
    """A file of result messages with every fault, of orders, of messages that cannot be read, and of results behind them."""
    chance, expected, texts = random.Random(seed), Expected(), []
    bad = [*BAD] * 3
    chance.shuffle(bad)
    for number in range(1, messages + 1):
        kinds = [bad.pop() for _ in range(min(len(bad), chance.randrange(4)))] + chance.choices([*GOOD], k=3)
        chance.shuffle(kinds)
        segments = [BAD[kind][1](n) if kind in BAD else GOOD[kind](n) for n, kind in enumerate(kinds, 1)]
        texts.append(_WHOLE[number % len(_WHOLE)](segments, kinds, number, expected))
    text = "FHS|^~\\&|x\rBHS|^~\\&|x\r" + "".join(texts) + f"BTS|{messages}\r{obx()}\r{obx()}\rFTS|1\r"
    expected.problems["R_HEADER"] += 2  # results of no message
    assert not bad, "more messages are needed for all faults"
    return text.encode("utf-8", "surrogateescape"), expected


def _plain(segments: list[str], kinds: list[str], number: int, expected: Expected) -> str:
    faults = [BAD[kind][0] for kind in kinds if kind in BAD]
    expected.problems.update(faults)
    expected.published.update("GLU" if kind == "local code alone" else "2345-7" for kind in kinds if kind in GOOD)
    expected.answers["AE" if faults else "AA"] += 1
    return message(PID.format(n=number), *BESIDE, obr(number), *segments, spm(f"KIT{number}"), number=number)


def _all_fail(reason: str, answer: str, *around: str, **options: str) -> Callable[..., str]:
    def make(segments: list[str], kinds: list[str], number: int, expected: Expected) -> str:
        expected.problems[reason] += len(segments)
        expected.answers[answer] += 1
        return message(PID.format(n=number), around[0], *segments, *around[1:], number=number, **options)  # type: ignore[arg-type]

    return make


def _order(segments: list[str], kinds: list[str], number: int, expected: Expected) -> str:
    expected.beside += len(segments)
    expected.answers["AR"] += 1
    return message(PID.format(n=number), obr(number), *segments, kind="OML^O21^OML_O21", number=number)


_NOWHERE = f"OBR|1|||57698-3^Lipids^LN|||20240229083000+0100|||||||||7^{MARK}-performer^Dr"
_WHOLE = [
    _plain,
    _plain,
    _order,
    _plain,
    _plain,
    _all_fail("R_SUBJECT", "AE", _NOWHERE, "SPM|1|||119297000^Blood^SCT"),
    _plain,
    _plain,
    _all_fail("R_SUBJECT", "AE", obr(), spm("KIT1"), spm("KIT2")),
    _plain,
    _all_fail("R_HEADER", "AR", obr(), spm(), header=HEADER.replace("2.5.1", "3.0")),
    _plain,
    _all_fail("R_HEADER", "AR", obr(), spm(), header=HEADER.replace(r"^~\&", r"^~^&")),
    _plain,
    _all_fail("R_ENCODING", "AR", obr(), spm(), header=HEADER + "||||||KLINGON"),
    _plain,
    _all_fail("R_SUBJECT", "AE", obr(), spm("K" * 201)),
    _all_fail("R_ENCODING", "AE", obr(), spm("K\udcfc")),
    _all_fail("R_TOO_LARGE", "AE", obr().replace("fil-1", "fil-" + "x" * 100_001), spm()),
    _plain,
]
