"""Parquet: the columns of a JSON Lines record, read in a separate process; needs pyarrow."""

import json
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from patchgrid.core.packages import require
from patchgrid.core.text.messages import damaged
from patchgrid.core.types import Pair
from patchgrid.pairs.errors import Problem
from patchgrid.pairs.records.plain_json import read_answers, read_spans
from patchgrid.pairs.records.reading import Findings, Records, Row

#: Memory limit of the reader process, in bytes.
_MEMORY = 2 << 30
#: Bytes of text that a file may come to, and how many times its own size.
_TEXT, _SHARED = 256 << 20, 100


def read(path: Path, columns: Mapping[str, str], findings: Findings) -> Iterator[Row]:
    """Yield each row as a pair or its problems, numbered from 0."""
    require("parquet", "reading Parquet")
    yield from read_apart(path, columns, findings)


def most_text(path: Path) -> int:
    """Return the most bytes of text that a file may unpack to: its pages can share a text among many rows."""
    return max(_TEXT, _SHARED * path.stat().st_size)


def read_apart(
    path: Path, columns: Mapping[str, str], findings: Findings, *, memory: int = _MEMORY
) -> Iterator[Row]:
    """Yield the output of `parquet_rows`; if the process dies, report the file as damaged."""
    # -P: do not import from the user's working folder.
    bounds = (str(most_text(path)), str(memory), json.dumps(dict(columns)))
    command = [sys.executable, "-P", "-m", "patchgrid.pairs.formats.parquet_rows", *bounds]
    seen = 0
    with path.open("rb") as file, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=errors)  # noqa: S603 (our own)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if not line.endswith(b"\n"):
                    break
                message = json.loads(line)
                if isinstance(message, dict):
                    _take_in(message, columns, findings)
                    continue
                for row in message:
                    yield _row(*row)
                    seen += 1
            ended = process.wait()
        finally:
            process.kill()
            process.communicate()
        if ended < 0:
            yield None, [damaged(seen, f"its reader process was killed by {signal.Signals(-ended).name}")]
        elif ended:
            raise RuntimeError(f"reading Parquet failed: {_last_line(errors)}")


def _take_in(message: dict[str, Any], columns: Mapping[str, str], findings: Findings) -> None:
    """Copy the reader's findings."""
    if "columns" in message:
        # Their errors come as the file's problems.
        Records(columns, findings, table=True).header(message["columns"])
    findings.skipped.update(Counter(message.get("skipped", {})) - findings.skipped)


def _row(number: int | None, fields: list[Any] | None, problems: list[tuple[str, str | None]]) -> Row:
    if fields is None:
        return number, [Problem(problem, field) for problem, field in problems]
    clean, corrupted, correct, incorrect, name, spans, group = fields
    answers = read_answers(correct), read_answers(incorrect)
    return number, Pair(clean, corrupted, *answers, name, read_spans(spans), group)


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").splitlines()
    return lines[-1] if lines else "without a message"
