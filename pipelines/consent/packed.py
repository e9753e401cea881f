"""Named arrays in a folder: one file that is mapped, not read, and one that says what lies where.

A folder is written whole under another name and then renamed; it is never changed. Opening takes the same time
whatever its size.
"""

import json
import mmap
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

_DATA, _ABOUT = "arrays.bin", "about.json"
_ALIGNED = 64


class DamagedError(Exception):
    """A folder whose files do not belong together: it was copied in part, or cut off."""


def write_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    """Make `folder` with the arrays and what `about` says of them (JSON); readable by its owner only."""
    making = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    making.mkdir(mode=0o700, parents=True)
    try:
        places: dict[str, tuple[str, tuple[int, ...], int]] = {}
        with open(making / _DATA, "xb") as data:
            for name, values in arrays.items():
                data.write(bytes(-data.tell() % _ALIGNED))
                places[name] = values.dtype.str, values.shape, data.tell()
                data.write(np.ascontiguousarray(values).data)
            data.write(bytes(_ALIGNED))  # never empty: nothing cannot be mapped
            size = data.tell()
            data.flush()
            os.fsync(data.fileno())
        with open(making / _ABOUT, "x", encoding="utf-8") as file:
            json.dump({"about": about, "arrays": places, "bytes": size}, file)
            file.flush()
            os.fsync(file.fileno())
        making.rename(folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise


def read_about(folder: Path) -> dict[str, Any]:
    """What was said of the folder's arrays."""
    about: dict[str, Any] = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))["about"]
    return about


def open_arrays(folder: Path) -> tuple[Arrays, dict[str, Any]]:
    """The arrays, read-only and mapped, and what was said of them; DamagedError where the file is cut off."""
    head = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    with open(folder / _DATA, "rb") as file:
        if os.fstat(file.fileno()).st_size != head["bytes"]:
            raise DamagedError(f"{folder.name} in the vault is damaged: remove it, and the next run builds it again")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays = {
        name: np.ndarray(tuple(shape), dtype=kind, buffer=data, offset=offset)
        for name, (kind, shape, offset) in head["arrays"].items()
    }
    return arrays, head["about"]
