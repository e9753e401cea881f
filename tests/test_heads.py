"""Heads: whatever was read before, and whatever the bytes, a message is what it is without them."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import contracts, heads
from schemas.contracts import HEADER_BYTES, Contract, decode, encode, latest
from schemas.heads import HeadedReader, PlainReader
from schemas.reasons import Rejected
from tests.messages import acceleration, packed, sensor, sleep, version

VERSIONS = [version("1.0"), version("1.1")]
TEXTS = st.text(max_size=3) | st.sampled_from(["p", "é" * 40, "s" * 63, "s" * 64, "s" * 200, "s" * 9_000])
OPTIONAL = st.none() | TEXTS


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """Sensor messages of every form, with heads that are the same, nearly the same, or long."""
    source = {"name": draw(TEXTS), "device_model": draw(OPTIONAL), "app": draw(OPTIONAL)}
    message = draw(
        st.sampled_from(
            [
                sensor(),
                sensor(times={"at": [1, 2, 3]}, values=[1.0, 2.0, 3.0], record_ids=["a", "b", "c"]),
                sensor(times={"start": [1], "end": b"\x02" + bytes(7)}, values=packed("i4", 7, scale=0.5)),
                acceleration(1, 2, 3),
                sleep("deep", "rem"),
            ]
        )
    )
    return {
        **message,
        "subject": draw(TEXTS),
        "modality": draw(st.sampled_from(["sensed", "derived"])),
        "source": source,
        "offset_min": draw(st.none() | st.integers(-2, 2)),
        "zone": draw(OPTIONAL),
    }


@st.composite
def payloads(draw: st.DrawFn) -> tuple[Contract, list[bytes]]:
    """Messages of one version, some of them cut, with bytes changed, or with the beginning of another."""
    contract = draw(st.sampled_from(VERSIONS))
    whole = [encode("sensor-reading", m, contract) for m in draw(st.lists(messages(), min_size=1, max_size=4))]
    found = list(whole)
    for _ in range(draw(st.integers(0, 8))):
        one, other = draw(st.sampled_from(whole)), draw(st.sampled_from(whole))
        cut = draw(st.integers(HEADER_BYTES, len(one)))
        kind = draw(st.sampled_from(["cut", "join", "change"]))
        if kind == "cut":
            found.append(one[:cut])
        elif kind == "join":
            found.append(one[:cut] + other[draw(st.integers(HEADER_BYTES, len(other))) :])
        else:
            found.append(one[: cut - 1] + bytes([draw(st.integers(0, 255))]) + one[cut:])
    return contract, draw(st.permutations(found + whole))


def outcome(reader: PlainReader | HeadedReader, payload: bytes) -> Any:
    """What a reader makes of it: the message and where it ends, or that it cannot be read."""
    try:
        return repr(reader.read(payload, HEADER_BYTES))
    except contracts._UNREADABLE:
        return None


@given(payloads(), st.sampled_from([1, 3, 1000]), st.sampled_from([1, 8]))
def test_a_message_is_the_same_whatever_was_read_before(
    drawn: tuple[Contract, list[bytes]], most_heads: int, most_ends: int
) -> None:
    contract, sent = drawn
    today = latest("sensor-reading").schema
    plain, headed = PlainReader(contract.schema, today), HeadedReader(contract.schema, today, "zone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "_MOST_HEADS", most_heads)
        patch.setattr(heads, "_MOST_ENDS", most_ends)
        for payload in sent * 2:
            assert outcome(headed, payload) == outcome(plain, payload)


@pytest.fixture
def read_heads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """One item for each head that was not known yet."""
    contracts._reader.cache_clear()
    found: list[int] = []
    real = HeadedReader._keep
    monkeypatch.setattr(HeadedReader, "_keep", lambda self, *args: found.append(1) or real(self, *args))
    yield found
    contracts._reader.cache_clear()


@pytest.mark.parametrize("subject", ["p", "s" * 63, "s" * 64, "é" * 100])
def test_each_head_is_read_once_however_its_messages_alternate(subject: str, read_heads: list[int]) -> None:
    sources = [{"name": name, "app": app} for name in ("w", "watch") for app in (None, "a", "app", "another app")]
    for start in range(1, 2**40, 2**36):
        for source in sources:
            message = sensor(subject=subject, source=source, times={"start": start, "period": 1})
            read = decode(encode("sensor-reading", message), "sensor-reading")
            assert (read["source"]["app"], read["times"]["start"]) == (source["app"], start)
    assert len(read_heads) == len(sources)


def test_a_message_may_be_changed_without_changing_the_next(read_heads: list[int]) -> None:
    payload = encode("sensor-reading", sensor())
    decode(payload, "sensor-reading")["subject"] = "somebody else"
    assert decode(payload, "sensor-reading")["subject"] == "p-0017"
    assert len(read_heads) == 1


def test_a_long_head_is_not_kept(read_heads: list[int]) -> None:
    payload = encode("sensor-reading", sensor(zone="z" * 1_100))
    for _ in range(2):
        assert decode(payload, "sensor-reading")["zone"] == "z" * 1_100
    assert len(read_heads) == 2


def test_a_message_that_ends_in_its_head_is_truncated_even_when_that_is_known() -> None:
    payload = encode("sensor-reading", sensor())
    decode(payload, "sensor-reading")
    for length in range(HEADER_BYTES, len(payload)):
        with pytest.raises(Rejected):
            decode(payload[:length], "sensor-reading")
