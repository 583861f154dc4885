"""Packed arrays come back as they were, or not at all."""

import numpy as np
import pytest

from patchgrid.storage.db.blobs import pack, unpack
from patchgrid.storage.errors import CorruptData


def test_arrays_of_one_shape_come_back() -> None:
    """Numbers, shape, dtype and what the owner added."""
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3) + n for n in range(3)]
    blob = unpack(pack(arrays, {"pairs": [4, 5, 6]}), "scores")
    assert blob.meta["pairs"] == [4, 5, 6]
    assert len(blob.arrays) == 3
    for packed, array in zip(blob.arrays, arrays, strict=True):
        assert packed.dtype == np.float32
        np.testing.assert_array_equal(packed, array)


def test_arrays_that_differ_in_one_axis_come_back() -> None:
    """A position axis of any size, none included."""
    arrays = [np.random.default_rng(n).normal(size=(2, n, 3)) for n in (4, 0, 7)]
    blob = unpack(pack(arrays, {}), "scores")
    for packed, array in zip(blob.arrays, arrays, strict=True):
        np.testing.assert_array_equal(packed, array)


def test_numbers_are_stored_little_endian_in_c_order() -> None:
    """Bytes do not depend on how an array lies in memory, nor on the machine."""
    array = np.arange(6, dtype=np.float64).reshape(2, 3)
    turned = np.asfortranarray(array).astype(">f8")
    assert pack([turned], {}) == pack([array], {})
    assert pack([array], {}).endswith(array.astype("<f8").tobytes())


def test_no_arrays_come_back_as_none() -> None:
    """A chunk without a done pair."""
    assert unpack(pack([], {}), "scores").arrays == ()


def test_nan_and_infinity_are_kept() -> None:
    """Nothing is said of what numbers mean."""
    array = np.array([np.nan, np.inf, -0.0], np.float32)
    np.testing.assert_array_equal(unpack(pack([array], {}), "scores").arrays[0], array)


@pytest.mark.parametrize("place", [0, 5, 9, 14, -1])
def test_a_changed_byte_is_found(place: int) -> None:
    """Wherever it is: mark, checksum, length, header or numbers."""
    data = bytearray(pack([np.ones((2, 2))], {}))
    data[place] ^= 1
    with pytest.raises(CorruptData, match="the scores of chunk 3 are damaged"):
        unpack(bytes(data), "the scores of chunk 3")


@pytest.mark.parametrize("size", [0, 3, 11, 40, -1])
def test_missing_bytes_are_found(size: int) -> None:
    """A blob cut short anywhere."""
    data = pack([np.ones((2, 2))], {})
    with pytest.raises(CorruptData):
        unpack(data[:size], "the scores")


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    """Two axes that differ, another number of axes, another dtype."""
    with pytest.raises(ValueError, match="one axis only"):
        pack([np.ones((2, 2)), np.ones((3, 3))], {})
    with pytest.raises(ValueError, match="same number of axes"):
        pack([np.ones((2, 2)), np.ones(2)], {})
    with pytest.raises(ValueError, match="one dtype"):
        pack([np.ones(2), np.ones(2, np.float32)], {})
