"""A server's documents as the dataclasses that they were made of."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from patchgrid.api.client.http.errors import NotPatchgrid
from patchgrid.core.graph import Graph
from patchgrid.core.sites import INDEX_FIELDS, WIDE_SITES, index_of_fields
from patchgrid.core.states import FINISHED_CHUNKS, OPEN_CHUNKS
from patchgrid.core.types import Answer, JobSpec, Pair, TokenPiece, TokenText
from patchgrid.storage.chunks.chunk_result import ExactCell
from patchgrid.storage.chunks.provenance import Provenance
from patchgrid.storage.jobs.chunk_notes import Troubles
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.output.documents import TOP
from patchgrid.storage.pair_results.pair_view import PairView, TopComponent
from patchgrid.storage.queue.job_status import Snapshot
from patchgrid.storage.queue.metrics import ModelQueue
from patchgrid.storage.queue.workers import LoadFailure, WorkerRecord
from patchgrid.storage.results.components import ComponentRow
from patchgrid.storage.results.coverage import Coverage
from patchgrid.storage.results.plots import Heatmap
from patchgrid.storage.results.verification import Cost, SiteAgreement

Document = Mapping[str, Any]
Made = TypeVar("Made")
Kind = TypeVar("Kind")


def _understood(read: Callable[[Any], Made]) -> Callable[[Any], Made]:
    """Raise `NotPatchgrid` where a document is not what it should be."""

    def reader(found: Any) -> Made:
        with understood(read.__name__.replace("_", " ").strip()):
            return read(found)

    return reader


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Raise `NotPatchgrid` where a document about `what` is not what it should be."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise NotPatchgrid(
            f"the server's answer about a {what} is not understood ({type(error).__name__}: {error}): is it "
            "of another version?"
        ) from error


@_understood
def job(found: Document) -> JobRecord:
    """Read a job."""
    return JobRecord(
        id=int(found["job"]),
        key=found["key"],
        name=found["name"],
        spec=JobSpec.from_dict(found["spec"]),
        state=found["state"],
        spans=tuple(found["spans"]),
        pairs=int(found["pairs"]["total"]),
        chunk_size=int(found["chunk_size"]),
        priority=int(found["priority"]),
        bytes=int(found["bytes"]),
        created_at=found["created_at"],
        started_at=found["started_at"],
        finished_at=found["finished_at"],
        error=found["error"],
    )


@_understood
def progress(found: Document) -> Progress:
    """Read how far a job is, of itself or of an event about it."""
    pairs, chunks = found["pairs"], found["chunks"]
    return Progress(
        total=pairs["total"],
        done=pairs["done"],
        failed=pairs["failed"],
        skipped=pairs["skipped"],
        chunks_total=sum(chunks.values()),
        **{f"chunks_{state}": chunks[state] for state in (*FINISHED_CHUNKS, *OPEN_CHUNKS)},
    )


@_understood
def provenance(found: Document) -> tuple[Provenance, ...]:
    """Read what made a job's numbers."""
    return tuple(_made(Provenance, made) for made in found["provenance"])


def graph(found: Document) -> Graph | None:
    """Read how a job's edges are numbered."""
    values = next((made.graph for made in provenance(found) if made.graph is not None), None)
    return None if values is None else Graph.from_dict(values)


@_understood
def snapshot(found: Document) -> Snapshot:
    """Read how a job stands."""
    return Snapshot(
        job=job(found),
        progress=progress(found),
        at_work=tuple(worker(each) for each in found["workers"]),
        serving=int(found["serving"]),
        load_failures=tuple(load_failure(each) for each in found["load_failures"]),
    )


@_understood
def failed_pair(found: Document) -> tuple[int | str, str]:
    """Read a failed pair's name and reason."""
    return found["pair"], found["error"] or ""


@_understood
def chunks_again(found: Document) -> int:
    """Read how many chunks are to be tried again."""
    return int(found["chunks_again"])


@_understood
def owners(found: Document) -> tuple[str, ...]:
    """Read the names of a job's owners."""
    return tuple(found["owners"])


@_understood
def goes_on_for(found: Document) -> tuple[str, ...]:
    """Read for whom a job goes on."""
    return tuple(found["goes_on_for"])


@_understood
def troubles(found: Document) -> Troubles:
    """Read what a job's chunks went through."""
    return _made(Troubles, found["troubles"])


@_understood
def warnings(found: Document) -> tuple[tuple[str, int], ...]:
    """Read what a job's pairs are warned of."""
    return tuple((each["warning"], each["pairs"]) for each in found["warnings"])


@_understood
def rounding(found: Document) -> Document | None:
    """Read how much of a job's effects may be rounding."""
    return None if found["rounding"] is None else dict(found["rounding"])


def task(found: Document) -> Document | None:
    """Read whether the model does a job's task."""
    return None if found["task"] is None else dict(found["task"])


@_understood
def worker(found: Document) -> WorkerRecord:
    """Read a worker."""
    return _made(WorkerRecord, found, models=tuple(found["models"]), loaded=tuple(found["loaded"]))


@_understood
def load_failure(found: Document) -> LoadFailure:
    """Read why a worker cannot load a model."""
    return _made(LoadFailure, found)


@_understood
def queue(found: Document) -> ModelQueue:
    """Read what waits for a model."""
    return _made(ModelQueue, found)


@_understood
def component(found: Document) -> ComponentRow:
    """Read a component."""
    return _component(ComponentRow, found)


@_understood
def agreement(found: Document) -> SiteAgreement:
    """Read how a site's scores agree with exact patching."""
    return _made(SiteAgreement, found)


@_understood
def coverage(found: Document) -> Coverage:
    """Read how many cells were patched exactly, of a list of components."""
    return _made(Coverage, found["coverage"])


@_understood
def cost(found: Document) -> Cost:
    """Read what a job cost."""
    return Cost(dict(found["scores"]), found["exact"], found["effects"])


@_understood
def heatmap(found: Document) -> Heatmap:
    """Read a site's heatmap."""
    values = np.array(found["values"], np.float64)  # None becomes NaN
    return Heatmap(
        found["site"], found["measure"], values, tuple(found["columns"]), np.array(found["estimated"], bool)
    )


def pair_view(found: Document, record: JobRecord, numbering: Graph | None) -> PairView:
    """Read a pair of a job whose edges are numbered so."""
    with understood("pair"):
        first = found["method"] == record.method()
        name = found["pair"]
        return PairView(
            index=found["row"],
            name=name,
            pair=Pair(
                clean=found["clean"],
                corrupted=found["corrupted"],
                correct=tuple(map(_answer, found["correct"])),
                incorrect=tuple(map(_answer, found["incorrect"])),
                id=name if isinstance(name, str) else None,
                spans={span: (start, stop) for span, (start, stop) in found["spans"].items()} or None,
            ),
            state=found["state"],
            error=found["error"],
            warning=found["warning"],
            tokens=tuple(found["tokens"]),
            corrupted_tokens=tuple(found["corrupted_tokens"]),
            clean_metric=found["clean_metric"],
            corrupted_metric=found["corrupted_metric"],
            prefix=found["prefix"],
            clean_preference=found["clean_preference"],
            corrupted_preference=found["corrupted_preference"],
            correct_tokens=tuple(found["correct_tokens"]),
            incorrect_tokens=tuple(found["incorrect_tokens"]),
            method=found["method"],
            scores={site: np.array(scores, np.float32) for site, scores in found["scores"].items()},
            top=tuple(_kept(found["top"])) if first else (),
            exact=tuple(_component(ExactCell, one, others=tuple(one["others"])) for one in found["exact"]),
            graph=numbering,
        )


def _kept(top: Sequence[Document]) -> Iterator[TopComponent]:
    """Give those of a pair's strongest components that are kept as rows: of most sites together a few."""
    few = 0
    for one in top:
        few += one["site"] not in WIDE_SITES
        if one["site"] in WIDE_SITES or few <= TOP:
            yield _component(TopComponent, one)


def _answer(value: Any) -> Answer:
    if not isinstance(value, dict):
        answer: Answer = value
        return answer
    return TokenPiece(value["piece"]) if "piece" in value else TokenText(value["text"])


def _component(kind: type[Kind], found: Document, **own: Any) -> Kind:
    """Make a dataclass of a component, whose index is in the field of its kind."""
    return _made(kind, found, index=index_of_fields(found[field] for field in INDEX_FIELDS), **own)


def _made(kind: type[Kind], found: Document, **own: Any) -> Kind:
    """Make a dataclass of those entries of a document that are its fields."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    values = {field.name: found[field.name] for field in fields if field.name in found}
    return kind(**values | own)
