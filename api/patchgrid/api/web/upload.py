"""Uploads: a request's body is written to a temporary file, never held in memory."""

import asyncio
import os
import tempfile
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import python_multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from patchgrid.api.web.problems import Problem

#: Write buffer, in bytes.
_BLOCK = 1 << 20
#: Most bytes of a form's other fields together, and most parts.
_FIELD_BYTES, _PARTS = 64 * 1024, 20
#: Read timeout in seconds, and lowest upload rate in bytes per second.
_PATIENCE, _SLOWEST = 60.0, 1000
#: Linux's folder of a process' open files.
_OPEN_FILES = Path("/proc/self/fd")
#: Longest name of a file in messages.
_LONGEST_NAME = 100


@dataclass(slots=True)
class Upload:
    """A received pair file."""

    #: Its path, and the object that keeps it.
    path: Path
    file: "_Kept"
    #: The sender's name of it.
    name: str = "pairs"
    #: The form's other fields.
    fields: dict[str, str] = field(default_factory=dict)
    #: Whether a file was sent.
    has_file: bool = False


@asynccontextmanager
async def received(request: Request, most: int) -> AsyncIterator[Upload]:
    """Yield a request's pair file: a form's part `pairs`, or the whole body; it is deleted afterwards.

    Raises `Problem` for one of more than `most` bytes, for a form that cannot be read, and for a full disk.
    """
    _check_length(request, most)
    kind, options = _content_type(request)
    file = _Kept()
    upload, spool = Upload(file.path, file), _Spool(file, most)
    try:
        if kind == b"multipart/form-data":
            await _read_form(request, options.get(b"boundary"), spool, upload)
        else:
            async for block in blocks(request):
                upload.has_file = upload.has_file or bool(block)
                spool.add(block)
                await spool.flush()
        await spool.flush(all_of_it=True)
        yield upload
    except asyncio.CancelledError:
        # A thread may still use the file; it is deleted when released.
        raise
    except BaseException:
        file.discard()
        raise
    file.discard()


def is_form(request: Request) -> bool:
    """Return whether a request's body is a multipart form or a file; `Problem` for anything else."""
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() not in ("", "identity"):
        raise Problem(415, "unsupported", f"send the body uncompressed, not with {file_name(coding)}")
    kind, _ = _content_type(request)
    if kind == b"application/x-www-form-urlencoded":
        raise Problem(415, "unsupported", "send multipart/form-data, or the pair file as the body")
    return kind == b"multipart/form-data"


async def blocks(request: Request) -> AsyncIterator[bytes]:
    """Yield a request's body block by block; `Problem` if it is sent too slowly."""
    stream = aiter(request.stream())
    now = asyncio.get_running_loop().time
    # Long enough for any connection, and no longer: a stalled upload blocks others.
    end, size = now() + _PATIENCE, 0
    while True:
        try:
            async with asyncio.timeout_at(min(end + size / _SLOWEST, now() + _PATIENCE)):
                block = await anext(stream, None)
        except TimeoutError:
            raise Problem(408, "request-timeout", "timed out reading the request body") from None
        if block is None:
            return
        size += len(block)
        yield block


def _content_type(request: Request) -> tuple[bytes, dict[bytes, bytes]]:
    return parse_options_header(request.headers.get("content-type"))


class _Kept:
    """A temporary file, deleted with its last reference, or with the process where the system allows it."""

    def __init__(self) -> None:
        try:
            #: The file to write to.
            self.descriptor, name = tempfile.mkstemp(prefix="patchgrid-upload-")
        except OSError as error:
            raise _no_room(error) from error
        #: The path to open it at.
        self.path = _OPEN_FILES / str(self.descriptor)
        if self.path.exists():
            Path(name).unlink()
            named = None
        else:
            self.path = named = Path(name)
        self.discard = weakref.finalize(self, _discard, self.descriptor, named)

    def write(self, data: memoryview) -> None:
        """Append all of it."""
        while data:
            data = data[os.write(self.descriptor, data) :]


def _discard(descriptor: int, named: Path | None) -> None:
    os.close(descriptor)
    if named is not None:
        named.unlink(missing_ok=True)


class _Spool:
    """Writes bytes to the disk in large blocks, in a thread: the disk may be slow."""

    def __init__(self, file: _Kept, most: int) -> None:
        self._file, self._most = file, most
        self._waiting = bytearray()
        self._size = 0

    def add(self, data: bytes) -> None:
        """Add bytes."""
        self._size += len(data)
        if self._size > self._most:
            raise _too_large(self._most)
        self._waiting += data

    async def flush(self, *, all_of_it: bool = False) -> None:
        """Write the buffer if it is large enough."""
        if len(self._waiting) >= _BLOCK or (all_of_it and self._waiting):
            data, self._waiting = memoryview(self._waiting), bytearray()
            try:
                await run_in_threadpool(self._file.write, data)
            except OSError as error:
                raise _no_room(error) from error


class _Form:
    """A form's parts: the file goes to the disk, the other fields to memory."""

    def __init__(self, spool: _Spool, upload: Upload) -> None:
        self._spool, self._upload = spool, upload
        self._header = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._field = bytearray()
        self._left, self._parts = _FIELD_BYTES, 0
        self.ended = False

    def on_part_begin(self) -> None:
        self._headers, self._name, self._field = {}, "", bytearray()
        self._parts += 1
        if self._parts > _PARTS:
            raise Problem(422, "bad-form", f"the form has more than {_PARTS} parts")

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += self._take(data, start, end)

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._take(data, start, end)

    def on_header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = options.get(b"name", b"").decode(errors="replace")
        if self._name == "pairs":
            if self._upload.has_file:
                raise Problem(422, "bad-form", "the form has two parts 'pairs': send one file")
            self._upload.has_file = True
            self._upload.name = file_name(options.get(b"filename", b"").decode(errors="replace"))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == "pairs":
            self._spool.add(data[start:end])
        else:
            self._field += self._take(data, start, end)

    def on_part_end(self) -> None:
        if self._name in self._upload.fields:
            raise Problem(422, "bad-form", f"the form has two parts {self._name!r}")
        if self._name != "pairs":
            self._upload.fields[self._name] = self._field.decode(errors="replace")

    def on_end(self) -> None:
        self.ended = True

    def _take(self, data: bytes, start: int, end: int) -> bytes:
        self._left -= end - start
        if self._left < 0:
            raise Problem(413, "too-large", f"the form's fields exceed {_FIELD_BYTES:,} bytes")
        return data[start:end]


async def _read_form(request: Request, boundary: bytes | None, spool: _Spool, upload: Upload) -> None:
    if not boundary:
        raise Problem(422, "bad-form", "the form's Content-Type has no boundary")
    form = _Form(spool, upload)
    names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end")
    calls = {f"on_{name}": getattr(form, f"on_{name}") for name in (*names, "headers_finished", "end")}
    try:
        parser = python_multipart.MultipartParser(boundary, calls)  # type: ignore[arg-type]
        async for block in blocks(request):
            parser.write(block)
            await spool.flush()
    except FormParserError as error:
        raise Problem(422, "bad-form", f"invalid form: {error}") from error
    if not form.ended:
        raise Problem(422, "bad-form", "the form is truncated")


def file_name(text: str) -> str:
    """Clean a sender's file name for messages: its last part, printable; never used as a path."""
    name = text.replace("\\", "/").rpartition("/")[2]
    name = "".join(letter for letter in name if letter.isprintable())[-_LONGEST_NAME:]
    return name or "pairs"


def _check_length(request: Request, most: int) -> None:
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and len(length) < 20 and int(length) > most + _FIELD_BYTES:
        raise _too_large(most)


def _no_room(error: OSError) -> Problem:
    detail = f"the server cannot store the upload: {error.strerror}"
    return Problem(503, "disk-full", detail, headers={"Retry-After": "60"})


def _too_large(most: int) -> Problem:
    return Problem(413, "too-large", f"the upload exceeds this server's limit of {most:,} bytes")
