"""Apple Health: the export in its zip, whatever it is called and whatever lies beside it; and zips that break off."""

import io
import random
import struct
import zipfile
from typing import Any

import pytest

from connectors.apple_health import FORMAT
from connectors.apple_health_zip import MOST_TABLE_BYTES
from connectors.apple_health_zip_rules import too_much
from connectors.formats import FileRefused, NotRead, Partial
from connectors.receipt import Receipt
from tests.apple_exports import HEART, export_zip, plain, record, xml, zipped

EXPORT = xml(*plain(300))


def read(content: bytes) -> tuple[list[dict[str, Any]], Receipt]:
    receipt = Receipt(FORMAT.name)
    rows = [row for batch in receipt.batches(FORMAT.read(io.BytesIO(content), "x.zip")) for row in batch.to_pylist()]
    return rows, receipt


def refusal(content: bytes) -> str:
    with pytest.raises(FileRefused) as told:
        read(content)
    return str(told.value)


@pytest.mark.parametrize(
    "name", ["export.xml", "Export.xml", "导出.xml", "exportación.xml", "Exportieren.XML", "書き出したデータ.xml"]
)
@pytest.mark.parametrize("folder", ["apple_health_export/", ""])
def test_the_export_is_found_under_any_of_its_names(folder: str, name: str) -> None:
    rows, receipt = read(export_zip(EXPORT, folder + name))
    assert len(rows) == 300
    assert receipt.partial is None
    assert receipt.beside == [
        NotRead("__MACOSX/._*", "1 in the zip"),
        NotRead("electrocardiograms/*.csv", "1 in the zip"),
        NotRead("export_cda.xml", "1 in the zip"),
        NotRead("workout-routes/*.gpx", "2 in the zip"),
    ]


def test_files_beside_an_export_are_told_by_kind_and_not_by_name() -> None:
    names = ("Quibble.pdf", "clinical-records/Quibble.json", "Quibble.xml", "Quibble_cda.xml", "Quibble/")
    _, receipt = read(zipped(dict.fromkeys(names, b"<x/>") | {"export.xml": EXPORT}))
    assert {one.what for one in receipt.beside} == {
        "another .xml", "clinical-records/*.json", "export_cda.xml", "other files",
    }  # fmt: skip
    assert "Quibble" not in str(receipt.as_json())


def test_of_two_exports_the_larger_one_is_read_and_the_other_told() -> None:
    rows, receipt = read(zipped({"a.xml": xml(record(HEART, "1")), "b.xml": EXPORT}))
    assert len(rows) == 300
    assert receipt.beside == [NotRead("another .xml", "1 in the zip")]


def test_the_clinical_document_under_a_name_of_its_own_is_no_export() -> None:
    clinical = b'<?xml version="1.0"?>\n<ClinicalDocument>' + b"<a/>" * 100_000 + b"</ClinicalDocument>"
    assert len(read(zipped({"big.xml": clinical, "export.xml": EXPORT}))[0]) == 300


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_however_it_is_packed(compression: int) -> None:
    assert len(read(zipped({"export.xml": EXPORT}, compression))[0]) == 300


# -- zips that are refused


@pytest.mark.parametrize(
    "name", ["../export.xml", "a/../../export.xml", "/etc/export.xml", "..\\export.xml", "C:\\export.xml"]
)
def test_a_name_that_climbs_out_is_refused(name: str) -> None:
    content = zipped({"export.xml": EXPORT, name.replace("\\", "|"): b""}).replace(
        name.replace("\\", "|").encode(), name.encode()
    )
    assert "leads out of it" in refusal(content)


def test_a_zip_without_an_export_is_refused() -> None:
    assert "holds no export" in refusal(zipped({"notes.txt": b"", "__MACOSX/._export.xml": EXPORT}))
    assert "holds no export" in refusal(zipped({"export_cda.xml": EXPORT}))


def test_an_encrypted_zip_is_refused() -> None:
    content = bytearray(zipped({"export.xml": EXPORT}))
    directory = content.index(b"PK\x01\x02")
    for flags in (6, directory + 8):
        content[flags] |= 1
    assert "encrypted" in refusal(bytes(content))


def test_a_way_of_packing_that_is_not_known_is_refused() -> None:
    content = bytearray(zipped({"export.xml": EXPORT}))
    directory = content.index(b"PK\x01\x02")
    for method in (8, directory + 10):
        content[method : method + 2] = struct.pack("<H", 9)
    assert "not known here" in refusal(bytes(content))


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert too_much(100_000_000, 100_000)
    monkeypatch.setattr("connectors.apple_health_zip_rules.SMALL_BYTES", 3_000_000)
    bomb = zipped({"export.xml": b"<HealthData>" + b" " * 4_000_000})
    monkeypatch.setattr("connectors.apple_health_zip.unpacked", lambda *_: pytest.fail("it was unpacked"))
    assert "far more than an export" in refusal(bomb)


def test_a_bomb_in_a_cut_zip_is_not_unpacked_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.apple_health_zip_rules.SMALL_BYTES", 3_000_000)
    for name in ("bomb.xml", "notes.txt"):
        bomb = zipped({name: b" " * 5_000_000, "export.xml": EXPORT})
        assert "holds no export" in refusal(bomb[:-10])


def test_a_table_of_contents_that_lies_does_not_help_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.apple_health_zip_rules.SMALL_BYTES", 3_000_000)
    content = bytearray(zipped({"export.xml": EXPORT + b" " * 5_000_000}))
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", 30_000)
    rows, receipt = read(bytes(content))
    assert len(rows) == 300
    assert receipt.partial is not None
    assert "far more than an export" in receipt.partial.why


def test_a_table_of_contents_without_end_is_refused() -> None:
    content = zipped({"export.xml": EXPORT})
    end = content.index(b"PK\x05\x06")
    size = MOST_TABLE_BYTES + 1
    tail = content[end : end + 12] + struct.pack("<II", size, 0) + b"\0\0"
    assert "table of contents" in refusal(content[:4] + b"\0" * (size - 4) + tail)


@pytest.mark.parametrize("seed", range(30))
def test_a_zip_with_any_bytes_changed_is_read_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    content = bytearray(export_zip(xml(*plain(30))))
    for _ in range(chance.randint(1, 20)):
        content[chance.randrange(4, len(content))] = chance.randrange(256)
    try:
        rows, receipt = read(bytes(content))
    except FileRefused:
        return
    assert len(rows) <= 30
    assert len(rows) == 30 or receipt.partial or receipt.problems


# -- zips that break off


@pytest.mark.parametrize("sizes_follow", [False, True])
def test_a_zip_that_is_cut_short_is_read_to_the_cut(sizes_follow: bool) -> None:
    content = _streamed(EXPORT) if sizes_follow else export_zip(EXPORT)
    read_at_cut = []
    for cut in [*range(len(content) // 4, len(content) - 10, 997), len(content) - 10]:
        receipt = Receipt(FORMAT.name)
        try:
            for batch in receipt.batches(FORMAT.read(io.BytesIO(content[:cut]), "")):
                receipt.add(batch)
        except FileRefused as refused:
            receipt.note(Partial("", str(refused)))
        assert receipt.partial is not None
        assert "cut short" in receipt.partial.why
        read_at_cut.append(receipt.records)
    assert read_at_cut == sorted(read_at_cut)
    assert read_at_cut[0] < 300
    assert read_at_cut[-1] == 300


def test_what_follows_a_whole_export_in_a_cut_zip_is_said_to_be_missing() -> None:
    rows, receipt = read(export_zip(EXPORT)[:-50])
    assert len(rows) == 300
    assert receipt.partial is not None
    assert receipt.partial.why == "the zip is cut short behind its export"


def test_a_zip_with_a_damaged_middle_is_read_to_there() -> None:
    content = bytearray(zipped({"export.xml": EXPORT}))
    middle = len(content) // 2
    content[middle : middle + 50] = b"\xff" * 50
    rows, receipt = read(bytes(content))
    assert len(rows) < 300
    assert receipt.partial is not None


def test_a_value_that_was_changed_in_the_zip_is_noticed() -> None:
    content = zipped({"export.xml": xml(record(HEART, "61"))}, zipfile.ZIP_STORED)
    rows, receipt = read(content.replace(b'value="61"', b'value="81"'))
    assert [row["value"] for row in rows] == ["81"]
    assert receipt.partial is not None
    assert "another checksum" in receipt.partial.why


def test_a_zip_from_a_pipe_is_refused_and_an_xml_is_not() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(FileRefused, match="from a file"):
        list(FORMAT.read(Pipe(export_zip(EXPORT)), ""))
    (batch,) = FORMAT.read(Pipe(EXPORT), "")
    assert batch.num_rows == 300


def _streamed(export: bytes) -> bytes:
    """A zip as it is written to a pipe: the sizes follow each file."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.content = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.content += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("apple_health_export/workout-routes/a.gpx", b"<gpx/>" * 1000)
        archive.writestr("apple_health_export/export.xml", export)
    return pipe.content
