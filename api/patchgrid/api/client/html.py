"""HTML of jobs for notebooks: tables with every value escaped."""

from collections.abc import Iterable, Sequence
from html import escape


def table(rows: Iterable[Sequence[object]], heads: Sequence[str] = ()) -> str:
    """Write an HTML table."""
    head = f"<thead>{_row(heads, 'th')}</thead>" if heads else ""
    body = "".join(_row(row, "td") for row in rows)
    return f"<table>{head}<tbody>{body}</tbody></table>"


def _row(cells: Sequence[object], tag: str) -> str:
    inner = "".join(f"<{tag}>{'' if cell is None else escape(str(cell))}</{tag}>" for cell in cells)
    return f"<tr>{inner}</tr>"
