"""Whom nobody can remove as a partner."""

from pathlib import Path

import pytest

from pipelines import partner_removal
from pipelines.partner_removal import remove
from pipelines.partners import PartnerRefused
from pipelines.settings import Settings


@pytest.mark.parametrize("name", ["office", "wellspring-driver", "admin"])
def test_neither_the_consent_authority_nor_the_system_is_a_partner(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partner_removal, "list_topics", lambda *_: pytest.fail("Kafka was asked"))
    with pytest.raises(PartnerRefused, match="that is no partner's name"):
        list(remove(Settings(authority="office"), name, tmp_path, with_topics=True, dry_run=False))
