"""wellspring connect hl7v2 FILE: results of a laboratory, read by its mapping file."""

from pathlib import Path
from typing import Annotated

import typer

from connectors.hl7v2 import HL7V2
from pipelines.commands.common import AsJson, Config
from pipelines.commands.connect_file import DryRun, File, PartnerName, connect_file
from schemas.lab_mapping import load_lab_mapping


def hl7v2(
    path: File,
    partner: PartnerName = "",
    subject: Annotated[str, typer.Option(help="The person, where all results are one person's.")] = "",
    laboratory: Annotated[
        Path | None, typer.Option(help="The laboratory's mapping file. Without it barcodes are in SPM-2, else OBR-3.")
    ] = None,
    dry_run: DryRun = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """HL7 v2 results: a file or batch, published with a receipt."""
    mapping = load_lab_mapping(laboratory) if laboratory else None
    connect_file(HL7V2, path, partner, subject, mapping, dry_run, config, as_json)
