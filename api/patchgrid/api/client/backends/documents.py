"""A server's documents as the dataclasses that they were written from."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from patchgrid.api.client.backends.decoding import decode
from patchgrid.api.client.http.errors import NotPatchgrid
from patchgrid.core.graph import Graph
from patchgrid.core.sites import INDEX_FIELDS, WIDE_SITES, index_of_fields
from patchgrid.core.types import Answer, JobSpec, Pair, TokenPiece, TokenText
from patchgrid.storage.chunks.chunk_result import ExactCell
from patchgrid.storage.chunks.provenance import Provenance
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.output.documents import TOP
from patchgrid.storage.output.standing import Standing
from patchgrid.storage.pair_results.pair_view import PairView, TopComponent
from patchgrid.storage.queue.job_status import Snapshot

Document = Mapping[str, Any]
Kind = TypeVar("Kind")


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Raise `NotPatchgrid` where a document about `what` is not what it should be."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise NotPatchgrid(
            f"cannot read the server's answer about a {what} ({type(error).__name__}: {error}): check that "
            "patchgrid and the server have the same version"
        ) from error


def read(kind: type[Kind], document: object) -> Kind:
    """Read a dataclass that the server sends field by field."""
    with understood(kind.__name__):
        return decode(kind, document)


def component(kind: type[Kind], document: Document) -> Kind:
    """Read a component or a cell, whose index is in the field of its kind."""
    with understood("component"):
        return decode(kind, {**document, "index": index_of_fields(document[field] for field in INDEX_FIELDS)})


def job(document: Document) -> JobRecord:
    """Read a job."""
    with understood("job"):
        spec = JobSpec.stored(document["spec"])
        return decode(
            JobRecord, {**document, "id": document["job"], "spec": spec, "pairs": document["pairs"]["total"]}
        )


def progress(document: Document) -> Progress:
    """Read a job's progress from its document or from an event."""
    with understood("job"):
        chunks = document["chunks"]
        counts = {f"chunks_{state}": count for state, count in chunks.items()}
        return decode(Progress, {**document["pairs"], **counts, "chunks_total": sum(chunks.values())})


def snapshot(document: Document) -> Snapshot:
    """Read a job's status."""
    now = {"job": job(document), "progress": progress(document), "at_work": document.get("workers")}
    return read(Snapshot, {**document, **now})


def standing(document: Document) -> Standing:
    """Read all that is known of a job but its results."""
    with understood("job"):
        warnings = [(warning["warning"], warning["pairs"]) for warning in document["warnings"]]
        made_by = document["provenance"]
    return read(Standing, {**document, "now": snapshot(document), "made_by": made_by, "warnings": warnings})


def graph(made_by: Sequence[Provenance]) -> Graph | None:
    """Read how a job's edges are numbered."""
    values = next((made.graph for made in made_by if made.graph is not None), None)
    return None if values is None else Graph.from_dict(values)


def pair_view(document: Document, record: JobRecord, numbering: Graph | None) -> PairView:
    """Read a pair of a job whose edges are numbered so."""
    with understood("pair"):
        first, name = document["method"] == record.method(), document["pair"]
        pair = Pair(
            clean=document["clean"],
            corrupted=document["corrupted"],
            correct=tuple(map(_answer, document["correct"])),
            incorrect=tuple(map(_answer, document["incorrect"])),
            id=name if isinstance(name, str) else None,
            spans={span: (start, stop) for span, (start, stop) in document["spans"].items()} or None,
            group=document["group"],
        )
        top = _stored_alone(document["top"]) if first else []
        parts = {
            "top": [component(TopComponent, each) for each in top],
            "exact": [component(ExactCell, each) for each in document["exact"]],
        }
        own = {"index": document["row"], "name": name, "pair": pair, "graph": numbering}
        return decode(PairView, {**document, **own, **parts})


def _stored_alone(top: Sequence[Document]) -> list[Document]:
    """Return those of a pair's strongest components that are stored as rows: a few over most sites."""
    kept, few = [], 0
    for one in top:
        few += one["site"] not in WIDE_SITES
        if one["site"] in WIDE_SITES or few <= TOP:
            kept.append(one)
    return kept


def _answer(value: Any) -> Answer:
    if not isinstance(value, dict):
        answer: Answer = value
        return answer
    return TokenPiece(value["piece"]) if "piece" in value else TokenText(value["text"])
