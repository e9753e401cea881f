"""The tests of withings-weight: a format's own rows, each fault that they can have, and what it is told by."""

import io

from withings_weight import FORMAT, MAPPING, read

from connectors.formats import Problem, sniffed
from connectors.receipt import Receipt
from schemas.export_mappings import read_mapping
from schemas.reasons import Reason

HEAD = 'Date,"Weight (kg)","Fat mass (kg)","Bone mass (kg)","Muscle mass (kg)","Hydration (kg)",Comments\n'
ROWS = '2025-06-30 07:12:33,71.4,14.2,3.1,54.1,,"felt\nheavy"\n2025-07-01 07:10:02,71.1,,,,,\n'
BAD = "30.06.2025 07:12,71.0,,,,,\n2025-07-02 07:09:00,70.9\n"


def test_every_row_is_accounted_for() -> None:
    receipt = Receipt(FORMAT.name)
    for batch in receipt.batches(read(io.BytesIO((HEAD + ROWS + BAD).encode()))):
        assert batch.schema == FORMAT.schema
        receipt.add(batch)
    assert receipt.by_type == {"Weight": 2, "Fat mass": 1, "Bone mass": 1, "Muscle mass": 1}
    assert receipt.listed == [Problem(Reason.FIELD, "line 5"), Problem(Reason.FIELD, "line 6")]
    assert receipt.partial is None


def test_it_is_told_by_its_head_and_its_mapping_fits_the_catalogue() -> None:
    assert sniffed(HEAD.encode(), "weight.csv") is FORMAT
    rule = read_mapping(MAPPING).rule("Weight", False, "lb")
    assert rule is not None
    assert (rule.metric.code, rule.unit) == ("weight", "[lb_av]")
