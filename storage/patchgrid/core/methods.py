"""The scoring methods: each a frozen dataclass whose fields are the method's options.

What computes a method's scores is a module of its own under `patchgrid.engine.methods`.
"""

from dataclasses import dataclass
from typing import ClassVar

from patchgrid.core import names
from patchgrid.core.settings import check_fields, setting


@dataclass(frozen=True, slots=True)
class Method:
    """A scoring method with its options."""

    #: Name on the command line, in JSON and in results.
    name: ClassVar[str]
    #: What it is, in a few words.
    summary: ClassVar[str]
    #: Whether it scores edges; else it scores nodes.
    of_edges: ClassVar[bool] = False
    #: Whether its gradients are taken on a path between the two runs, not at the base run itself.
    along_path: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def patches(self) -> bool:
        """Whether it runs patched copies of the base run."""
        return False

    def passes(self, layers: int) -> int:  # noqa: ARG002
        """Count the passes that one pair's scores take beside its two unpatched runs, about."""
        return 1


@dataclass(frozen=True, slots=True)
class AtP(Method):
    """Attribution patching; Kramár et al. 2024, arXiv 2403.00745."""

    name = "atp"
    summary = "attribution patching, one gradient"


@dataclass(frozen=True, slots=True)
class AtPStar(Method):
    """Attribution patching with queries and keys taken through the softmax; same paper."""

    name = "atp*"
    summary = "atp with attention patterns recomputed"

    #: Also average over gradients that leave out one layer each; scores lose their sign.
    grad_drop: bool = setting(
        False, "Average over gradients that leave out one layer each (GradDrop); unsigned", label="GradDrop"
    )

    def passes(self, layers: int) -> int:
        """See `Method`."""
        return 1 + layers if self.grad_drop else 1


@dataclass(frozen=True, slots=True)
class _AlongPath(Method):
    """A method that averages gradients over a path from the base run to the source."""

    along_path = True

    #: Points of the path: the middles of equal parts.
    steps: int = setting(
        5, "Points of the path that gradients are averaged over", label="Steps", least=1, most=4096
    )

    def passes(self, layers: int) -> int:  # noqa: ARG002
        """See `Method`."""
        return 2 * self.steps


@dataclass(frozen=True, slots=True)
class IG(_AlongPath):
    """Integrated gradients; Sundararajan et al. 2017, arXiv 1703.01365."""

    name = "ig"
    summary = "integrated gradients"

    #: What moves from the base run to the source.
    path: str = setting(
        "embedding",
        "What moves along the path",
        label="Path",
        choices={"embedding": "the model's whole input", "site": "each site's own activation"},
    )

    @property
    def patches(self) -> bool:
        """See `Method`."""
        return self.path == "site"


@dataclass(frozen=True, slots=True)
class RelP(Method):
    """Relevance patching; Jafari et al. 2025, arXiv 2508.21258."""

    name = "relp"
    summary = "relevance patching"

    def passes(self, layers: int) -> int:  # noqa: ARG002
        """See `Method`."""
        return 2


@dataclass(frozen=True, slots=True)
class EAP(Method):
    """Edge attribution patching; Syed et al. 2023, arXiv 2310.10348."""

    name = "eap"
    summary = "edges by attribution patching"
    of_edges = True


@dataclass(frozen=True, slots=True)
class EAPIG(_AlongPath):
    """Edge attribution patching with integrated gradients; Hanna et al. 2024, arXiv 2403.17806."""

    name = "eap-ig"
    summary = "edges by integrated gradients"
    of_edges = True


#: Every method by its name.
METHODS: dict[str, type[Method]] = {method.name: method for method in (AtP, AtPStar, IG, RelP, EAP, EAPIG)}
names.KINDS["method"] = tuple(METHODS)
