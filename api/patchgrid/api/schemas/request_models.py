"""Request models: names and numbers within bounds, and a job's settings."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, create_model

from patchgrid.core.methods import METHODS
from patchgrid.core.query import query_settings
from patchgrid.core.refinement import Refinement
from patchgrid.core.settings import Setting
from patchgrid.core.spec import JobSpec, job_settings
from patchgrid.pairs import ColumnsError, parse_columns
from patchgrid.pairs.records.columns import check_columns

#: Largest number that the databases' integers hold.
LARGEST = 2**31 - 1
Sort = Literal["estimate", "mean", "mean_abs", "std", "ci_low", "ci_high", "width", "exact_n", "n"]
Order = Literal["down", "up"]
Kind = Literal["whole", "aligned"]
Interval = Literal["population", "pairs"]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has unprintable characters")
    return text


#: A text that a client sends: of bounded length, without control characters.
_PLAIN = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
Word = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=_PLAIN)]


def _job_name(name: str) -> str:
    if not name.strip() or name == "last" or name.isdigit():
        raise ValueError("is not allowed: choose a name that is not a number and not 'last'")
    if "/" in name or name in (".", ".."):
        raise ValueError("cannot be part of a URL: choose a name without '/'")
    return _printable(name)


def _own_key(key: str) -> str:
    if not key.strip():
        raise ValueError("is blank")
    return _printable(key)


def _columns(columns: str | dict[str, str]) -> dict[str, str]:
    try:
        return parse_columns([columns]) if isinstance(columns, str) else check_columns(columns)
    except ColumnsError as error:
        raise ValueError(str(error)) from None


#: Columns by field, as the command line takes them.
Columns = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=_PLAIN)]


class RefinementRequest(BaseModel):
    """What to patch exactly beyond a job's sample: one of `exact`, `top`, `components` and `certify`."""

    model_config = ConfigDict(extra="forbid")

    exact: float = Field(
        0, ge=0, le=1, description="Share of all cells to patch in addition, where it improves estimates most"
    )
    top: int = Field(
        0,
        ge=0,
        le=LARGEST,
        description="Number of components with the largest |estimate| to patch in every pair",
    )
    components: list[Word] = Field([], max_length=10_000, description="Patch every pair of these components")
    certify: int = Field(
        0,
        ge=0,
        le=LARGEST,
        description="K: patch in rounds until it is certain which K components have the largest "
        "|mean effect|",
    )
    confidence: float = Field(0.95, ge=0.5, lt=1)
    tolerance: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Components that differ by less than this share of the k-th largest count as equal",
    )
    max_exact: float = Field(
        0.3, gt=0, le=1, description="A certificate stops once this share of all cells is patched"
    )
    ranking: Literal["size", "signed"] = Field("size", description="Rank by |mean effect|, or by mean effect")

    def refinement(self) -> Refinement:
        """Return it checked; `SpecError` unless it asks for one thing."""
        return Refinement.from_dict(self.model_dump())


class Submission(BaseModel):
    """A job's model, and how the job is queued."""

    model_config = ConfigDict(extra="forbid")

    model: Word = Field(description="Hub id or folder, one of GET /v1/models.")
    revision: Word | None = None
    name: Annotated[str, StringConstraints(max_length=200), AfterValidator(_job_name)] | None = Field(
        None, title="Name", description="A name to find the job by"
    )
    limit: int | None = Field(
        None, ge=1, le=LARGEST, title="First pairs only", description="Use only the first N pairs of the file"
    )
    columns: Annotated[Columns | dict[Word, Word], AfterValidator(_columns)] | None = Field(
        None,
        title="Columns",
        description="Columns of the pair file by field, where its layout is not recognized: "
        "correct=country_idx,incorrect=corrupted_country_idx (or a JSON object)",
    )
    chunk_size: int | None = Field(
        None,
        ge=1,
        le=4096,
        title="Pairs per chunk",
        description="Pairs that a worker takes at a time",
        json_schema_extra={"x-default": "an eighth of the pairs, from 16 to 64"},
    )
    priority: int = Field(
        0, ge=-1000, le=1000, title="Priority", description="Jobs of higher priority run first"
    )
    key: Annotated[Word, StringConstraints(max_length=64), AfterValidator(_own_key)] | None = Field(
        None,
        title="Key",
        description="The job's identity",
        json_schema_extra={"x-default": "a hash of its pairs and settings"},
    )
    refinements: list[RefinementRequest] = Field(
        [], max_length=20, description="What to patch exactly after the scores, in order"
    )

    @property
    def columns_by_field(self) -> dict[str, str]:
        """The columns that are named."""
        return self.columns if isinstance(self.columns, dict) else {}

    def spec(self) -> JobSpec:
        """Return the job's spec; `SpecError` for unknown or incompatible values."""
        queued = Submission.model_fields.keys() - {"model"}
        return JobSpec.from_dict(self.model_dump(exclude=queued, exclude_unset=True))


#: Which part of the page's form a setting belongs to; all others are how a job is run and kept.
_PARTS = {each.name: "query" for each in query_settings()}


def _field(each: Setting) -> tuple[Any, Any]:
    """Make a setting a field of a request: its type, and what OpenAPI says of it."""
    kind: Any = each.kind
    if kind is tuple:
        kind = tuple[Word, ...] if isinstance(each.default, tuple) else Word
    elif kind is str:
        kind = Word
    extra: dict[str, Any] = {"x-help": each.help, "x-part": _PARTS.get(each.name, "job")}
    if each.methods:
        extra |= {"x-part": "method", "x-methods": list(each.methods)}
    if each.choices:
        # Pairs, in order: the keys of a schema's objects are sorted.
        extra |= {"x-choices": [list(pair) for pair in each.choices.items()], "x-open": each.open}
    if each.default_words is not None:
        extra |= {"x-default": each.default_words}
    if each.name == "method":
        extra |= {"x-edge-methods": [name for name, method in METHODS.items() if method.of_edges]}
    field = Field(
        each.default,
        ge=each.least,
        le=each.most,
        title=each.label,
        description=each.words,
        json_schema_extra=extra,
    )
    return (kind | None if each.optional else kind), field


_FIELDS: dict[str, Any] = {each.name: _field(each) for each in job_settings()}

#: What a job measures, and how it is queued: the form's field `spec`, or query parameters.
JobRequest: type[Submission] = create_model(
    "JobRequest",
    __base__=Submission,
    __doc__="What a job measures, and how it is queued: the form's field `spec`, or query parameters.",
    **_FIELDS,
)
