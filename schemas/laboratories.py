"""The laboratories that an operator knows: a folder of mapping files, one a laboratory."""

from pathlib import Path

from schemas.lab_mapping import LabMapping, LabMappingError, load_lab_mapping


def load_laboratories(folder: Path) -> dict[str, LabMapping]:
    """The mappings by the laboratory's name, none where there is no such folder.

    LabMappingError where a file cannot be used, or two are about one laboratory; it does not name the laboratory.
    """
    found: dict[str, LabMapping] = {}
    for path in sorted(folder.glob("*.y*ml")):
        try:
            mapping = load_lab_mapping(path)
        except LabMappingError as error:
            raise LabMappingError(f"{path.name}: {error}") from None
        assert mapping.laboratory is not None, "a file names its laboratory"
        if mapping.laboratory in found:
            raise LabMappingError(f"{path.name}: another file is about the same laboratory")
        found[mapping.laboratory] = mapping
    return found
