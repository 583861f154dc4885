"""Which model, under which versions, made a chunk's numbers."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a chunk's numbers came from: enough to tell whether two chunks may be added up."""

    #: Hub id or local folder.
    model: str
    #: Hub revision (commit), or None for a local folder.
    revision: str | None
    #: Hash of the model's configuration.
    config_hash: str
    #: Hash of the model's weights.
    weights_hash: str
    #: Package name to version: patchgrid, torch, transformers, nnsight, ...
    versions: Mapping[str, str]
    #: Number type the model ran in.
    dtype: str
    #: Device the model ran on.
    device: str
    #: Seed of the sample.
    seed: int

    @property
    def hash(self) -> str:
        """Hash of all of it: equal content has one row."""
        return hashlib.sha256(canonical_json(self.as_dict()).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Give the fields as JSON-ready values."""
        names = ("model", "revision", "config_hash", "weights_hash", "dtype", "device", "seed")
        return {name: getattr(self, name) for name in names} | {"versions": dict(self.versions)}


def canonical_json(value: object) -> str:
    """Write a value as JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def provenances(session: Session, job_id: int) -> list[Provenance]:
    """Give what made the job's numbers so far, in order of first use; more than one is worth a remark."""
    raise NotImplementedError


def weights_hashes(session: Session, job_id: int) -> set[str]:
    """Give the hashes of the weights that made the job's numbers so far.

    A runner whose own hash is not among a non-empty set must not go on: the job would mix two models.
    """
    raise NotImplementedError
