"""wellspring connect hl7v2 FILE: results of a laboratory, read by its mapping file."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from connectors.hl7v2 import HL7V2, Reader
from connectors.lab_results import publish_results
from pipelines.commands.common import AsJson, Config, say
from pipelines.commands.connect_file import DryRun, File, PartnerName, publish_file
from schemas.lab_mapping import load_lab_mapping

_NAMED = 10


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
    reader = Reader(load_lab_mapping(laboratory) if laboratory else None, subject or None)
    try:
        publish_file(
            replace(HL7V2, read=reader),
            path,
            partner,
            lambda found, receipt, sink, most: publish_results(found, receipt, sink, reader.answers, most),
            dry_run,
            config,
            as_json,
        )
    finally:
        if not as_json:
            _tell(reader)


def _tell(reader: Reader) -> None:
    """What each message would be acknowledged with: nothing is sent to the laboratory."""
    for code, count in sorted(reader.answers.counts().items()):
        numbers = reader.answers.first(code, _NAMED) if code != "AA" else []
        more = ", …" if count > len(numbers) else ""
        which = f": messages {', '.join(map(str, numbers))}{more}" if numbers else ""
        say(f"  {code} for {count:,} message{'s' if count > 1 else ''}{which}")
