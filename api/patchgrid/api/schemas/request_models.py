"""What clients send: names and numbers within bounds, and what a job is asked for."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from patchgrid.core import names
from patchgrid.core.sites import SITES
from patchgrid.core.types import JobSpec
from patchgrid.pairs import ColumnsError, parse_columns
from patchgrid.pairs.records.columns import check_columns

#: Largest number that the databases' integers hold.
LARGEST = 2**31 - 1
Sort = Literal["estimate", "mean", "mean_abs", "std", "ci_low", "ci_high", "width", "exact_n", "n"]
Order = Literal["down", "up"]
Kind = Literal["whole", "aligned"]


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


class Asked(BaseModel):
    """What a job measures, and how it is queued: the form's field `spec`, or query parameters."""

    model_config = ConfigDict(extra="forbid")

    model: Word = Field(description="Hub id or folder, one of GET /v1/models.")
    revision: Word | None = None
    sites: tuple[Word, ...] = Field((), description=f"Of {', '.join(SITES)}; none: z, mlp_out; edge.")
    positions: Word = Field("sum", description="sum or keep")
    method: Word = Field(
        "atp", description=f"One or several, separated by commas: {', '.join(names.METHODS)}"
    )
    metric: Word = Field("logit_diff", description=f"{', '.join(names.METRICS)}, or one from a package")
    direction: Word = Field("denoise", description="denoise or noise")
    exact: float = Field(0.05, ge=0, le=1, description="Share of all cells to patch exactly")
    seed: int = Field(0, ge=0, lt=2**63)
    dtype: Word = Field("auto", description=", ".join(names.DTYPES))
    prepend_bos: bool | None = None
    detail: Word = Field("pairs", description="Scores stored per pair: summary (none), pairs or positions")
    source: Word = Field("pair", description=", ".join(names.SOURCES))
    steps: int = Field(5, ge=1, le=10_000)
    path: Word = "embedding"
    grad_drop: bool = False
    only_correct: bool = Field(False, description="Skip pairs whose clean run does not prefer `correct`")
    name: Annotated[str, StringConstraints(max_length=200), AfterValidator(_job_name)] | None = Field(
        None, description="Job name, accepted wherever a job id is"
    )
    key: Annotated[Word, StringConstraints(max_length=64), AfterValidator(_own_key)] | None = Field(
        None, description="Idempotency key. Default: the hash of pairs and settings"
    )
    priority: int = Field(0, ge=-1000, le=1000)
    chunk_size: int | None = Field(
        None, ge=1, le=4096, description="Pairs per chunk. Default: an eighth of the pairs, from 16 to 64"
    )
    limit: int | None = Field(None, ge=1, le=LARGEST, description="Number of pairs to read")
    columns: Annotated[Columns | dict[Word, Word], AfterValidator(_columns)] | None = Field(
        None,
        description="Columns of the pair file by field, if its layout is not recognized: "
        "`correct=country_idx,incorrect=corrupted_country_idx`, or an object",
    )

    @property
    def columns_by_field(self) -> dict[str, str]:
        """The columns that are named."""
        return self.columns if isinstance(self.columns, dict) else {}

    def spec(self) -> JobSpec:
        """Give the job's spec; `SpecError` for values that do not exist or do not fit."""
        values = self.model_dump(exclude={"name", "key", "priority", "chunk_size", "limit", "columns"})
        return JobSpec(**values)
