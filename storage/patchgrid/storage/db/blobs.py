"""Arrays packed into one blob: a small header that says what they are, a checksum, and the numbers.

Layout, all little-endian: the four bytes `PGB1`; the CRC-32 of all that follows; the header's length in
bytes; the header, JSON; the arrays, one after the other in C order. The header gives `dtype` (as NumPy writes
it, `<f4`), `shape` (with null for an axis whose size differs from array to array), `sizes` (that axis's
sizes, or null), `count` (how many arrays) and `meta` (what the owner of the blob adds). An array's offset
follows from those.
"""

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.storage.errors import CorruptData

_MAGIC = b"PGB1"
_PREFIX = struct.Struct("<4sII")
_JSON = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Blob:
    """What was packed."""

    #: The arrays, read-only.
    arrays: tuple[NDArray[Any], ...]
    #: What the owner added.
    meta: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Header:
    dtype: np.dtype[Any]
    shapes: tuple[tuple[int, ...], ...]
    #: First number of each array, and the number of them all.
    offsets: tuple[int, ...]
    meta: Mapping[str, Any]


def pack(arrays: Sequence[NDArray[Any]], meta: Mapping[str, Any]) -> bytes:
    """Pack arrays of one dtype and one number of axes, of which at most one may differ in size."""
    dtype = arrays[0].dtype.newbyteorder("<") if arrays else np.dtype("<f4")
    if any(array.dtype != arrays[0].dtype for array in arrays):
        raise ValueError("the arrays of a blob must be of one dtype")
    shape, sizes = _common_shape([array.shape for array in arrays])
    header = {"dtype": dtype.str, "shape": shape, "sizes": sizes, "count": len(arrays), "meta": dict(meta)}
    text = _JSON.encode(header).encode()
    data = b"".join([text, *(np.asarray(array, dtype).tobytes() for array in arrays)])
    checksum = zlib.crc32(data, zlib.crc32(struct.pack("<I", len(text))))
    return _PREFIX.pack(_MAGIC, checksum, len(text)) + data


def unpack(data: bytes, what: str) -> Blob:
    """Read a blob; `CorruptData`, which calls it `what`, if it is not as it was packed."""
    if len(data) < _PREFIX.size or data[:4] != _MAGIC:
        raise _corrupt(what, "bad magic number")
    _, checksum, length = _PREFIX.unpack_from(data)
    if zlib.crc32(memoryview(data)[8:]) != checksum:
        raise _corrupt(what, "checksum mismatch")
    start = _PREFIX.size + length
    header = _read_header(data[_PREFIX.size : start])
    if len(data) - start != header.offsets[-1] * header.dtype.itemsize:
        raise _corrupt(what, "wrong size")
    numbers = np.frombuffer(data, header.dtype, offset=start)
    ends = zip(header.offsets, header.offsets[1:], header.shapes, strict=False)
    return Blob(tuple(numbers[first:last].reshape(shape) for first, last, shape in ends), header.meta)


def _corrupt(what: str, reason: str) -> CorruptData:
    return CorruptData(
        f"{what} are damaged: {reason}: run `patchgrid db check`, then delete the job and run it again"
    )


def _common_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[list[int | None], list[int] | None]:
    """Return the shape, None for the axis that differs, and that axis's sizes."""
    if not shapes:
        return [], None
    if len({len(shape) for shape in shapes}) > 1:
        raise ValueError("the arrays of a blob must have the same number of axes")
    ragged = [axis for axis, sizes in enumerate(zip(*shapes, strict=True)) if len(set(sizes)) > 1]
    if len(ragged) > 1:
        raise ValueError("the arrays of a blob may differ in one axis only")
    if not ragged:
        return list(shapes[0]), None
    shape: list[int | None] = list(shapes[0])
    shape[ragged[0]] = None
    return shape, [sizes[ragged[0]] for sizes in shapes]


# Most blobs of a job have the same header.
@lru_cache(maxsize=256)
def _read_header(text: bytes) -> _Header:
    header = json.loads(text)
    sizes = header["sizes"] or [0] * header["count"]
    shapes = tuple(tuple(size if n is None else n for n in header["shape"]) for size in sizes)
    counts = [int(np.prod(shape)) for shape in shapes]
    offsets = tuple(int(n) for n in np.concatenate([[0], np.cumsum(counts)]))
    return _Header(np.dtype(header["dtype"]), shapes, offsets, MappingProxyType(header["meta"]))
