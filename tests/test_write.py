"""The one writer: the family's columns, the encodings that make files small, and no statistics on who it is about."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import write as module
from pipelines.rows import join, ordered, table
from pipelines.write import write_sorted
from schemas.families import FAMILIES, OBSERVATION, QUARANTINE, WAVEFORM, Family
from tests.lakes import rows
from tests.parquet_pages import pages
from tests.test_rows import study_block

DELTA = {"start", "end", "received", "entry", "origin_index", "consent_seq"}


@pytest.fixture
def content() -> pa.Table:
    """Rows as the run makes them, texts as dictionaries."""
    rng = random.Random(1)
    return table(ordered(join([study_block(rng, messages=40)])), OBSERVATION, 5, "observation")


def columns(path: Path) -> dict[str, pq.ColumnChunkMetaData]:
    group = pq.read_metadata(path).row_group(0)
    return {(c := group.column(i)).path_in_schema: c for i in range(group.num_columns)}


def test_what_is_written_is_read_back(content: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    assert write_sorted(content, OBSERVATION, path) == path.stat().st_size
    found = pq.read_table(path)
    assert found.schema.equals(OBSERVATION.schema)
    assert found.equals(content.cast(OBSERVATION.schema))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_the_footer_says_the_familys_columns_and_nothing_of_where_it_was_made(family: Family, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    marked = rows(family, 20).replace_schema_metadata({"note": "left behind"})
    write_sorted(marked, family, path)
    footer = pq.read_metadata(path)
    assert footer.metadata is None
    assert footer.schema.to_arrow_schema().equals(family.schema)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_nothing_has_statistics_but_what_rows_are_found_by(family: Family, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_sorted(rows(family, 20), family, path)
    found = columns(path)
    wanted = {"pbucket", "start", "record64", "check", "level"} & {*family.schema.names}
    assert wanted and {name for name, c in found.items() if c.is_stats_set} == wanted
    assert not any(c.has_column_index or c.has_offset_index for c in found.values())


def test_statistics_find_what_a_reader_looks_for(content: pa.Table, tmp_path: Path) -> None:
    write_sorted(content, OBSERVATION, tmp_path / "a.parquet")
    found = columns(tmp_path / "a.parquet")
    assert (found["pbucket"].statistics.min, found["pbucket"].statistics.max) == (0, 7)
    starts = content.column("start").cast(pa.int64())
    physical = [int(getattr(found["start"].statistics, f"{end}_raw")) for end in ("min", "max")]
    assert physical == [min(starts.to_pylist()), max(starts.to_pylist())]
    assert found["record64"].statistics.null_count == content.num_rows


def test_each_column_has_the_encoding_that_suits_it(content: pa.Table, tmp_path: Path) -> None:
    write_sorted(content, OBSERVATION, tmp_path / "a.parquet")
    found = columns(tmp_path / "a.parquet")
    assert {name for name, c in found.items() if "DELTA_BINARY_PACKED" in c.encodings} == DELTA
    assert {name for name, c in found.items() if "BYTE_STREAM_SPLIT" in c.encodings} == {"value"}
    coded = {name for name, c in found.items() if c.has_dictionary_page}
    assert {"pseudonym", "metric", "unit", "source", "origin", "partner", "modality", "time_quality"} <= coded
    assert not coded & {"key64", "record64", "value", *DELTA}
    assert {name for name, c in found.items() if c.compression != "ZSTD"} == {"key64"}  # random bits


def signal(values: list[float]) -> pa.Table:
    """Blocks of two samples."""
    count = len(values) // 2
    pairs = [values[2 * n : 2 * n + 2] for n in range(count)]
    return rows(WAVEFORM, count, samples=[2] * count, values=pairs, times_us=[[0, 5]] * count, period_us=[7] * count)


def test_signals_of_many_values_are_split_and_of_few_coded(tmp_path: Path) -> None:
    fine = [n / 7 for n in range(20_000)]
    for values, encoding in ((fine, "BYTE_STREAM_SPLIT"), ([float(n % 50) for n in range(20_000)], "RLE_DICTIONARY")):
        write_sorted(signal(values), WAVEFORM, tmp_path / "a.parquet")
        found = columns(tmp_path / "a.parquet")
        samples = found["values.list.element"]
        assert encoding in samples.encodings and samples.has_dictionary_page is (values is not fine)
        assert "DELTA_BINARY_PACKED" in {*found["samples"].encodings} & {*found["period_us"].encodings}
        assert pq.read_table(tmp_path / "a.parquet").column("values").combine_chunks().flatten().to_pylist() == values


def test_integers_of_a_block_take_a_few_bits_each(tmp_path: Path) -> None:
    counts = [[n % 700 - 350 for n in range(start, start + 100)] for start in range(50)]
    write_sorted(rows(WAVEFORM, 50, counts=counts, scale=[0.01] * 50), WAVEFORM, tmp_path / "a.parquet")
    found = columns(tmp_path / "a.parquet")["counts.list.element"]
    assert "DELTA_BINARY_PACKED" in found.encodings and found.total_compressed_size < 2 * 5_000
    assert pq.read_table(tmp_path / "a.parquet").column("counts").to_pylist() == counts


def test_a_quarantine_holds_both_kinds(tmp_path: Path) -> None:
    both = [None, [1.0, 2.0]] * 5
    content = rows(QUARANTINE, 10, value=[1.0, None] * 5, values=both)
    write_sorted(content, QUARANTINE, tmp_path / "a.parquet")
    assert pq.read_table(tmp_path / "a.parquet").column("values").to_pylist() == both


def test_a_missing_and_a_strange_column_are_defects_of_ours(content: pa.Table, tmp_path: Path) -> None:
    for wrong in (content.drop_columns(["code"]), content.append_column("subject", content.column("unit"))):
        with pytest.raises(AssertionError):
            write_sorted(wrong, OBSERVATION, tmp_path / "a.parquet")
    assert not (tmp_path / "a.parquet").exists()


def test_a_long_table_has_several_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "ROW_GROUP_ROWS", 8)
    write_sorted(rows(OBSERVATION, 20), OBSERVATION, tmp_path / "a.parquet")
    assert pq.read_metadata(tmp_path / "a.parquet").num_row_groups == 3


def test_of_large_blocks_a_group_has_few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "ROW_GROUP_NUMBERS", 100)
    for column, numbers in (("counts", list(range(30))), ("values", [0.5] * 30)):
        write_sorted(rows(WAVEFORM, 10, **{column: [numbers] * 10}), WAVEFORM, tmp_path / "a.parquet")
        assert pq.read_metadata(tmp_path / "a.parquet").num_row_groups == 4
    write_sorted(rows(WAVEFORM, 10, values=[[0.5] * 300] * 10), WAVEFORM, tmp_path / "a.parquet")
    assert pq.read_metadata(tmp_path / "a.parquet").num_row_groups == 10
    write_sorted(rows(WAVEFORM, 10), WAVEFORM, tmp_path / "a.parquet")
    assert pq.read_metadata(tmp_path / "a.parquet").num_row_groups == 1


def test_what_is_said_of_all_rows_takes_one_page(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_sorted(rows(OBSERVATION, 60_000), OBSERVATION, path)
    assert [page.dictionary for page in pages(path) if page.column == "partner"] == [True, False]
