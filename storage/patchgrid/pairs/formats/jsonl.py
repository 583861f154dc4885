"""JSON Lines: one pair per line."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from patchgrid.core.text.messages import kind
from patchgrid.pairs.formats.lines import LongLine, lines, undecodable
from patchgrid.pairs.records import jsonio
from patchgrid.pairs.records.reading import Findings, Records, Row


def read(path: Path, columns: Mapping[str, str], findings: Findings) -> Iterator[Row]:
    """Yield each line that is not blank as a pair or its problems."""
    records = Records(columns, findings, table=False)
    with path.open("rb") as stream:
        for number, line in lines(stream):
            if isinstance(line, LongLine):
                yield number, [line.problem]
            elif not line.isspace():
                record = _record(line)
                outcome = record if isinstance(record, list) else records.read(record)
                if outcome is not None:
                    yield number, outcome


def _record(line: bytes) -> dict[str, object] | list[str]:
    try:
        record = jsonio.parse(line.decode())
    except UnicodeDecodeError as error:
        return [undecodable(error)]
    except ValueError as error:
        return ["has a NUL byte" if b"\0" in line else str(error)]
    if not isinstance(record, dict):
        return [f"must be a JSON object, not {kind(record)}"]
    return record
