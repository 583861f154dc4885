"""Uploading a pair file to a server: streamed, with progress."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import httpx

#: Called with the bytes sent and the total.
Passed = Callable[[int, int], None]


class Upload:
    """One file with its spec as a form; builds a request for each attempt."""

    def __init__(self, file: Path, name: str, spec: Mapping[str, Any], key: str, passed: Passed) -> None:
        self._path, self._name, self._spec, self._key = file, name, spec, key
        self._passed = passed
        self._file: _Watched | None = None

    def request(self, client: httpx.Client) -> httpx.Request:
        """Build the request, from the start of the file."""
        self.close()
        self._file = _Watched(self._path.open("rb"), self._passed)
        return client.build_request(
            "POST",
            "/v1/jobs",
            headers={"Idempotency-Key": self._key},
            data={"spec": json.dumps(self._spec)},
            files={"pairs": (self._name, cast("BinaryIO", self._file), "application/octet-stream")},
        )

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class _Watched:
    """A file that reports how much of it has been read."""

    def __init__(self, file: BinaryIO, passed: Passed) -> None:
        self._file, self._passed = file, passed
        self._size = os.fstat(file.fileno()).st_size

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._passed(self._file.tell(), self._size)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
