"""Refinements as documents and in words: what was asked for, how far it is, certificates."""

from collections.abc import Mapping
from typing import Any

from patchgrid.core.text.number_format import percent
from patchgrid.storage.rounds.requests import RefinementRecord

#: The states of a certificate's components, in the order in which they are listed.
STATES = ("in", "tied", "undecided", "out")


def refinement_json(record: RefinementRecord, *, whole: bool = True) -> dict[str, Any]:
    """Return a refinement; `result` is what came of it, without a certificate's components unless `whole`."""
    result = record.result
    if result is not None and not whole:
        result = {name: value for name, value in result.items() if name != "components"}
    return {
        "number": record.number,
        "kind": record.request.kind,
        "state": record.state,
        "request": record.request.as_dict(),
        "result": None if result is None else dict(result),
        "created_at": record.created_at,
        "finished_at": record.finished_at,
    }


def latest_json(record: RefinementRecord | None) -> dict[str, Any] | None:
    """Return a job's latest refinement as a note beside it."""
    return None if record is None else refinement_json(record, whole=False)


def boundary_words(certificate: Mapping[str, Any]) -> str:
    """Say how far a certificate is: `8 in, 317 out, 5 undecided, 3.1 % of cells`."""
    counts = certificate["counts"]
    parts = [f"{counts[state]:,} {state}" for state in ("in", "out")]
    parts += [f"{counts[state]:,} {state}" for state in ("tied", "undecided") if counts[state]]
    return f"{', '.join(parts)}, {percent(certificate['cells'] / certificate['cells_in_all'])} of cells"


def outcome_words(record: RefinementRecord) -> str:
    """Say what came of a refinement so far."""
    result, state = record.result or {}, record.state
    if state == "failed":
        return f"failed: {result['error']}"
    if record.certificate is not None:
        held = "" if result["holds"] or state == "running" else "not decided: "
        words = held + boundary_words(result)
    elif "cells" in result:
        words = f"{result['cells']:,} cells patched in round {result['round']}"
    else:
        words = f"round {result['round']}" if result else ""
    return f"{state}: {words}" if words and state != "done" else words or state
