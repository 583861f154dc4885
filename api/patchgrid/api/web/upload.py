"""Uploads: a request's body on its way to a temporary file, never in memory."""

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

#: Bytes gathered before they are written.
_BLOCK = 1 << 20
#: Bytes of a form's other fields together, and its parts at most.
_FIELD_BYTES, _PARTS = 64 * 1024, 20
#: Seconds that a client may send nothing, and bytes a second that it sends at least.
_PATIENCE, _SLOWEST = 60.0, 1000
#: Where Linux shows a process its open files.
_OPEN_FILES = Path("/proc/self/fd")
#: Longest name of a file in messages.
_LONGEST_NAME = 100


@dataclass(slots=True)
class Upload:
    """A pair file that came in."""

    #: Where it lies, and what keeps it there.
    path: Path
    kept: "_Kept"
    #: What the sender calls it.
    name: str = "pairs"
    #: The form's other fields.
    fields: dict[str, str] = field(default_factory=dict)
    #: Whether there was a file at all.
    came: bool = False


@asynccontextmanager
async def received(request: Request, most: int) -> AsyncIterator[Upload]:
    """Give a request's pair file, as a form's part `pairs` or as all of the body; it is gone afterwards.

    `Problem` for one of more than `most` bytes, for a form that cannot be read, and for a full disk.
    """
    _check_length(request, most)
    kind, options = _content_type(request)
    kept = _Kept()
    upload, spool = Upload(kept.path, kept), _Spool(kept, most)
    try:
        if kind == b"multipart/form-data":
            await _read_form(request, options.get(b"boundary"), spool, upload)
        else:
            async for block in blocks(request):
                upload.came = upload.came or bool(block)
                spool.add(block)
                await spool.flush()
        await spool.flush(all_of_it=True)
        yield upload
    except asyncio.CancelledError:
        # A thread may go on with the file, which is gone when it lets go of it.
        raise
    except BaseException:
        kept.discard()
        raise
    kept.discard()


def is_form(request: Request) -> bool:
    """Tell whether a request's body is a form with parts, or a file; `Problem` for what is neither."""
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() not in ("", "identity"):
        raise Problem(415, "unsupported", f"send the body as it is, not packed ({file_name(coding)})")
    kind, _ = _content_type(request)
    if kind == b"application/x-www-form-urlencoded":
        raise Problem(415, "unsupported", "send multipart/form-data, or the pair file as the body")
    return kind == b"multipart/form-data"


async def blocks(request: Request) -> AsyncIterator[bytes]:
    """Give a request's body block by block; `Problem` for one that comes too slowly."""
    stream = aiter(request.stream())
    now = asyncio.get_running_loop().time
    # So long that any line will do, and no longer: an upload that waits keeps others out.
    end, size = now() + _PATIENCE, 0
    while True:
        try:
            async with asyncio.timeout_at(min(end + size / _SLOWEST, now() + _PATIENCE)):
                block = await anext(stream, None)
        except TimeoutError:
            raise Problem(408, "too-slow", "the request's body comes too slowly, or no more") from None
        if block is None:
            return
        size += len(block)
        yield block


def _content_type(request: Request) -> tuple[bytes, dict[bytes, bytes]]:
    return parse_options_header(request.headers.get("content-type"))


class _Kept:
    """A temporary file, gone with the last who holds this; with the process, where the system can do that."""

    def __init__(self) -> None:
        try:
            #: Where it is written.
            self.descriptor, name = tempfile.mkstemp(prefix="patchgrid-upload-")
        except OSError as error:
            raise _no_room(error) from error
        #: Where it can be opened.
        self.path = _OPEN_FILES / str(self.descriptor)
        if self.path.exists():
            Path(name).unlink()
            named = None
        else:
            self.path = named = Path(name)
        self.discard = weakref.finalize(self, _discard, self.descriptor, named)

    def write(self, data: memoryview) -> None:
        """Write all of it at the end."""
        while data:
            data = data[os.write(self.descriptor, data) :]


def _discard(descriptor: int, named: Path | None) -> None:
    os.close(descriptor)
    if named is not None:
        named.unlink(missing_ok=True)


class _Spool:
    """Bytes on their way to the disk, by large blocks and in a thread: the disk may be slow."""

    def __init__(self, kept: _Kept, most: int) -> None:
        self._kept, self._most = kept, most
        self._waiting = bytearray()
        self._size = 0

    def add(self, data: bytes) -> None:
        """Take bytes."""
        self._size += len(data)
        if self._size > self._most:
            raise _too_large(self._most)
        self._waiting += data

    async def flush(self, *, all_of_it: bool = False) -> None:
        """Write what has gathered, if it is enough."""
        if len(self._waiting) >= _BLOCK or (all_of_it and self._waiting):
            data, self._waiting = memoryview(self._waiting), bytearray()
            try:
                await run_in_threadpool(self._kept.write, data)
            except OSError as error:
                raise _no_room(error) from error


class _Form:
    """A form's parts as they pass: the file to the disk, the other fields to memory."""

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
            if self._upload.came:
                raise Problem(422, "bad-form", "the form has two parts 'pairs': send one file")
            self._upload.came = True
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
            raise Problem(413, "too-large", f"the form's fields are larger than {_FIELD_BYTES:,} bytes")
        return data[start:end]


async def _read_form(request: Request, boundary: bytes | None, spool: _Spool, upload: Upload) -> None:
    if not boundary:
        raise Problem(422, "bad-form", "the form's Content-Type names no boundary")
    form = _Form(spool, upload)
    names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end")
    calls = {f"on_{name}": getattr(form, f"on_{name}") for name in (*names, "headers_finished", "end")}
    try:
        parser = python_multipart.MultipartParser(boundary, calls)  # type: ignore[arg-type]
        async for block in blocks(request):
            parser.write(block)
            await spool.flush()
    except FormParserError as error:
        raise Problem(422, "bad-form", f"the form cannot be read: {error}") from error
    if not form.ended:
        raise Problem(422, "bad-form", "the form ends in the middle")


def file_name(text: str) -> str:
    """Make a sender's file name fit for messages: its last part, printable; it names nothing on the disk."""
    name = text.replace("\\", "/").rpartition("/")[2]
    name = "".join(letter for letter in name if letter.isprintable())[-_LONGEST_NAME:]
    return name or "pairs"


def _check_length(request: Request, most: int) -> None:
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and len(length) < 20 and int(length) > most + _FIELD_BYTES:
        raise _too_large(most)


def _no_room(error: OSError) -> Problem:
    detail = f"the server cannot keep the upload: {error.strerror}"
    return Problem(503, "no-room", detail, headers={"Retry-After": "60"})


def _too_large(most: int) -> Problem:
    return Problem(413, "too-large", f"the upload is larger than {most:,} bytes, the most this server takes")
