"""A query: the settings of a measurement, the same for a notebook's call and for a job."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from patchgrid.core import names
from patchgrid.core.errors import ArgumentError, SpecError
from patchgrid.core.methods import METHODS, AtP, Method
from patchgrid.core.settings import Setting, check_fields, setting, settings_of
from patchgrid.core.sites import EDGE, SITES

#: A metric of one's own: from float32 logits `[row, vocabulary]` of one pair's runs and that pair's token ids
#: (`patchgrid.engine.tokenization.tokens.TokenPair`) to a differentiable `[row]`.
MetricFunction = Callable[[Any, Any], Any]

_DEFAULT_SITES = ("z", "mlp_out")


@dataclass(frozen=True, slots=True)
class Query:
    """Sites, scoring methods with their options, metric, direction and source.

    Raises `SpecError`, which says what would work, for a name that is unknown and for what does not go
    together.
    """

    #: Sites to score, in the order a forward pass reaches them; none given: `z` and `mlp_out`, or `edge` for
    #: methods that score edges.
    sites: tuple[str, ...] = setting(
        (),
        f"Sites to score: {', '.join(f'{site.name} ({site.words})' for site in SITES.values())}",
        label="Sites",
        default_words="z,mlp_out; edge for eap and eap-ig",
    )
    #: Scoring methods with their options; the first draws the sample of cells that is patched exactly.
    methods: tuple[Method, ...] = setting(
        (AtP(),),
        "Scoring methods; each has its own estimates, from one sample of cells drawn by the first",
        label="Methods",
        name="method",
    )
    #: A metric's name, or, in calls of the engine, a function.
    metric: str | MetricFunction = setting(  # noqa: RUF009 (a field)
        "logit_diff",
        "Scalar of the last position's logits",
        label="Metric",
        choices=names.METRICS,
        open=True,
    )
    #: Which run's activations go into which.
    direction: str = setting(
        "denoise",
        "Which activations are patched into which run",
        label="Direction",
        choices=names.DIRECTIONS,
    )
    #: What replaces the base run's activations.
    source: str = setting(
        "pair",
        "What replaces an activation",
        label="Source",
        choices=names.SOURCES,
    )
    #: Skip pairs whose clean run does not prefer the correct answers.
    only_correct: bool = setting(
        False, "Skip pairs whose clean run does not prefer the correct answer", label="Only correct"
    )
    #: Prepend a BOS token to each prompt, or nothing; None: what the tokenizer prepends by itself.
    prepend_bos: bool | None = setting(
        None,
        "Prepend a BOS token to each prompt, or nothing",
        label="BOS token",
        default_words="what the tokenizer prepends",
    )

    def __post_init__(self) -> None:
        methods = (self.methods,) if isinstance(self.methods, Method) else tuple(self.methods)
        object.__setattr__(self, "methods", methods)
        self._check_methods()
        of_edges = any(method.of_edges for method in methods)
        sites = as_names(self.sites) or ((EDGE,) if of_edges else _DEFAULT_SITES)
        for site in sites:
            names.check_name("site", site, SITES, "sites")
        object.__setattr__(self, "sites", tuple(site for site in SITES if site in sites))
        check_fields(self)
        if not callable(self.metric) and self.metric not in names.METRICS:
            names.check_name("metric", self.metric, names.metrics(), "metric")
        for site in self.sites:
            if self.source == "mean" and not SITES[site].has_mean:
                raise SpecError(f"{site} has no mean: use the source pair or zero", "source")
        self._check_sites()
        self._check_gradient()

    @classmethod
    def of(cls, query: "Query | None" = None, /, **values: Any) -> "Query":
        """Make a query of settings by their names, the methods' options among them.

        `Query.of(sites="z", method="ig,relp", steps=10)`; with a query, that one with these settings changed.
        `SpecError` for a name that is no setting.
        """
        if not isinstance(query, Query | None):
            raise ArgumentError(f"query must be a Query, not {query!r}: give settings by name, sites='z'")
        if query is not None and not values:
            return query
        setting_names = [each.name for each in query_settings()]
        for name in values:
            names.check_name("setting", name, setting_names, name)
        before = {} if query is None else query.values()
        fields = {each.name for each in settings_of(cls)}
        options = {name: value for name, value in values.items() if name not in fields}
        mine = {name: value for name, value in (before | values).items() if name in fields}
        method = mine.pop("method", AtP.name)
        earlier = {name: value for name, value in before.items() if name not in fields}
        if query is not None and "method" in values and "sites" not in values:
            mine.pop("sites", None)
        return cls(methods=_read_methods(method, options, earlier), **mine)

    @property
    def method_names(self) -> tuple[str, ...]:
        """The methods' names, in order."""
        return tuple(method.name for method in self.methods)

    def values(self) -> dict[str, Any]:
        """Return the settings by name, including the methods' options; the inverse of `of`."""
        mine = {
            each.name: getattr(self, each.name) for each in settings_of(type(self)) if each.name != "method"
        }
        options = {
            each.name: getattr(method, each.name)
            for method in self.methods
            for each in settings_of(type(method))
        }
        return {"sites": self.sites, "method": ",".join(self.method_names)} | mine | options

    def _check_methods(self) -> None:
        if len(set(self.method_names)) < len(self.methods):
            raise SpecError(f"a method is given twice: {', '.join(self.method_names)}", "method")
        options: dict[str, tuple[object, str]] = {}
        for method in self.methods:
            for each in settings_of(type(method)):
                mine = getattr(method, each.name)
                value, other = options.setdefault(each.name, (mine, method.name))
                if value != mine:
                    raise SpecError(
                        f"{each.name} is {value} for {other} and {mine} for {method.name}: methods that are "
                        "run together share their options",
                        each.name,
                    )

    def _check_sites(self) -> None:
        of_edges = [method.name for method in self.methods if method.of_edges]
        of_nodes = [method.name for method in self.methods if not method.of_edges]
        nodes = [site for site in self.sites if site != EDGE]
        if of_edges and of_nodes:
            raise SpecError(
                f"{of_edges[0]} scores edges and {of_nodes[0]} scores nodes: use a job (or a call) for each",
                "method",
            )
        if of_edges and nodes:
            raise SpecError(f"{of_edges[0]} scores edges, not {nodes[0]}: use the site {EDGE}", "method")
        if of_nodes and EDGE in self.sites:
            scoring = ", ".join(name for name, method in METHODS.items() if method.of_edges)
            raise SpecError(f"{of_nodes[0]} scores nodes, not edges; methods for edges: {scoring}", "method")
        if len(nodes) < len(self.sites) > 1:
            raise SpecError(
                f"{EDGE} cannot be combined with {nodes[0]}: use a job (or a call) for each", "sites"
            )

    def _check_gradient(self) -> None:
        at_base = [method.name for method in self.methods if not method.along_path]
        if self.metric == "kl" and self.direction == "noise" and at_base:
            along = " or ".join(name for name, method in METHODS.items() if method.along_path)
            raise SpecError(
                "the gradient of kl to the clean run is 0 at the clean run itself, so in the noise direction "
                f"{at_base[0]} would score every component 0: use the denoise direction, another metric, or "
                f"{along}, whose gradients are taken on a path to the other run",
                "metric",
            )


def _read_methods(
    method: str | Method | Iterable[str | Method], options: Mapping[str, Any], earlier: Mapping[str, Any]
) -> tuple[Method, ...]:
    """Make methods of names, with the options that each has.

    An option that no method has may be given at its default; `earlier` are options that need not fit.
    """
    requested = (method,) if isinstance(method, Method) else as_names(method)  # type: ignore[arg-type]
    read = tuple(
        each if isinstance(each, Method) else _read_method(each, {**earlier, **options}) for each in requested
    )
    if not read:
        raise SpecError(f"no method given; available: {', '.join(METHODS)}", "method")
    having = {each.name for method in read for each in settings_of(type(method))}
    for each in option_settings():
        value = options.get(each.name, each.default)
        if each.name not in having and each.checked(value) != each.default:
            raise SpecError(
                f"{each.name} is an option of {' and '.join(each.methods)}, not of "
                f"{', '.join(method.name for method in read)}",
                each.name,
            )
    return read


def _read_method(name: str, options: Mapping[str, Any]) -> Method:
    names.check_name("method", name, METHODS, "method")
    kind = METHODS[name]
    return kind(**{each.name: options[each.name] for each in settings_of(kind) if each.name in options})


@functools.cache
def option_settings() -> tuple[Setting, ...]:
    """List the options of all methods, each once, with the methods that have it."""
    by_name: dict[str, Setting] = {}
    for name, method in METHODS.items():
        for each in settings_of(method):
            having = by_name[each.name].methods if each.name in by_name else ()
            by_name[each.name] = dataclasses.replace(each, methods=(*having, name))
    return tuple(by_name.values())


@functools.cache
def query_settings() -> tuple[Setting, ...]:
    """List all settings of a query: its fields, and behind the methods their options."""
    sites, method, *others = settings_of(Query)
    summaries = {name: each.summary for name, each in METHODS.items()}
    method = dataclasses.replace(method, default=AtP.name, choices=summaries)
    return (sites, method, *option_settings(), *others)


def as_names(value: str | Sequence[str]) -> tuple[str, ...]:
    """Return one name, several names, or comma-separated names as a tuple."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    if not isinstance(value, Iterable):
        raise ArgumentError(f"names must be a text or a list, not {value!r}")
    return tuple(value)
