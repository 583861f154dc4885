"""What can be asked together, and why the rest cannot: the same for a notebook's call and for a job."""

from collections.abc import Sequence
from dataclasses import dataclass

from patchgrid.core import names
from patchgrid.core.errors import SpecError
from patchgrid.core.sites import EDGE, SITES

#: Most points of a path to average gradients over.
MOST_STEPS = 4096


@dataclass(frozen=True, slots=True)
class Asked:
    """Sites, methods and what goes with them, by name."""

    sites: tuple[str, ...]
    methods: tuple[str, ...]
    metric: str = "logit_diff"
    direction: str = "denoise"
    source: str = "pair"
    steps: int = 5
    path: str = "embedding"
    grad_drop: bool = False

    def check(self) -> None:
        """Raise `SpecError`, with the alternatives, for settings that are unknown or not supported."""
        if not self.sites:
            raise SpecError("no site given: name at least one, such as --sites z,mlp_out", "sites")
        for site in self.sites:
            names.check_name("site", site, SITES, "sites")
        names.check_name("metric", self.metric, names.metrics(), "metric")
        names.check_name("direction", self.direction, names.DIRECTIONS, "direction")
        names.check_name("source", self.source, names.SOURCES, "source")
        for site in self.sites:
            if self.source == "mean" and not SITES[site].has_mean:
                raise SpecError(f"{site} has no mean: use the source pair or zero", "source")
        self._check_methods()
        self._check_options()
        self._check_gradient()

    def _check_methods(self) -> None:
        for method in self.methods:
            names.check_name("method", method, names.METHODS, "method")
        if len(set(self.methods)) < len(self.methods):
            raise SpecError(f"duplicate method in {', '.join(self.methods)}", "method")
        of_edges = [method for method in self.methods if method in names.EDGE_METHODS]
        of_nodes = [method for method in self.methods if method in names.NODE_METHODS]
        if of_edges and of_nodes:
            raise SpecError(
                f"{of_edges[0]} scores edges and {of_nodes[0]} scores nodes: use one job (or call) for each",
                "method",
            )
        nodes = [site for site in self.sites if site != EDGE]
        if of_edges and nodes:
            raise SpecError(f"{of_edges[0]} scores edges, not {nodes[0]}: name the site {EDGE}", "method")
        if of_nodes and EDGE in self.sites:
            raise SpecError(
                f"{of_nodes[0]} scores nodes, not edges: edges are scored by {', '.join(names.EDGE_METHODS)}",
                "method",
            )
        if len(nodes) < len(self.sites) > 1:
            raise SpecError(
                f"{EDGE} is a site of its own: measure {nodes[0]} by another job (or call)", "sites"
            )

    def _check_options(self) -> None:
        if not 1 <= self.steps <= MOST_STEPS:
            raise SpecError(f"steps must be from 1 to {MOST_STEPS}, not {self.steps}", "steps")
        names.check_name("path", self.path, names.PATHS, "path")
        if self.path != "embedding" and "ig" not in self.methods:
            raise SpecError(f"path {self.path!r} needs method ig", "path")
        if self.grad_drop and "atp*" not in self.methods:
            raise SpecError("GradDrop needs method atp*", "grad_drop")

    def _check_gradient(self) -> None:
        at_base = [method for method in self.methods if method not in names.PATH_METHODS]
        if self.metric == "kl" and self.direction == "noise" and at_base:
            raise SpecError(
                f"kl to the clean run has no gradient at the clean run itself, so {at_base[0]} would score "
                "every component 0 in the noise direction: use the denoise direction, another metric, or "
                f"{' or '.join(names.PATH_METHODS)}, whose gradients are taken on the way to the other run",
                "metric",
            )


def as_names(value: str | Sequence[str]) -> tuple[str, ...]:
    """Give one name, several, or several in one text with commas between them, as a tuple."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return tuple(value)
