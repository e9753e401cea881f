"""What is said where messages were not acknowledged: a refusal by its reason, a doubt as one."""

import pytest

from connectors.publisher import UNKNOWN, Receipt
from pipelines.commands.common import Refused
from pipelines.commands.publishing import refuse_unconfirmed

NOT_ALLOWED = "this user may not do that with the topic"


def test_nothing_is_said_where_all_arrived() -> None:
    refuse_unconfirmed([Receipt(acknowledged=2)], 2)


def test_a_refusal_is_told_by_its_reason_even_where_others_are_in_doubt() -> None:
    receipts = [Receipt(failed=2, reasons={NOT_ALLOWED: 1, UNKNOWN: 1}), Receipt(acknowledged=1)]
    with pytest.raises(Refused, match=f"^2 of 3 were not taken: {NOT_ALLOWED}$"):
        refuse_unconfirmed(receipts, 3)


def test_what_may_have_arrived_is_to_be_sent_again() -> None:
    with pytest.raises(Refused, match="1 of 3 were not acknowledged: publish the same file again"):
        refuse_unconfirmed([Receipt(failed=1, reasons={UNKNOWN: 1})], 3)
