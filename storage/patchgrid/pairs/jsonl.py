"""JSON Lines: one pair a line."""

from collections.abc import Iterator
from pathlib import Path

from patchgrid.engine.types import Pair
from patchgrid.pairs import jsonio
from patchgrid.pairs.lines import LongLine, lines, undecodable
from patchgrid.pairs.reading import Note, Row
from patchgrid.pairs.records import Fields, make_reader
from patchgrid.pairs.wording import kind

_read_record = make_reader(Fields())


def read(path: Path, note: Note) -> Iterator[Row]:  # noqa: ARG001 (the readers share one signature)
    """Give each line that is not blank as a pair or its problems."""
    with path.open("rb") as stream:
        for number, line in lines(stream):
            if isinstance(line, LongLine):
                yield number, [line.problem]
            elif not line.isspace():
                yield number, _row(line)


def _row(line: bytes) -> Pair | list[str]:
    try:
        record = jsonio.parse(line.decode())
    except UnicodeDecodeError as error:
        return [undecodable(error)]
    except ValueError as error:
        return ["has a NUL byte" if b"\0" in line else str(error)]
    if not isinstance(record, dict):
        return [f"must be a JSON object, not {kind(record)}"]
    return _read_record(record)
