"""Options that several commands share."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import click

from patchgrid.cli.context import Decorator
from patchgrid.cli.errors import UsageError
from patchgrid.core import names
from patchgrid.core.query import as_names
from patchgrid.pairs import parse_columns

#: Highest and lowest priority: the columns' type holds more, nobody needs more.
PRIORITIES = click.IntRange(-1000, 1000)
#: A job by id, by name, or `last`.
job_argument = click.argument("name", metavar="JOB")


def model_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `-m`, which is needed."""
    return click.option(
        "-m",
        "--model",
        required=True,
        metavar="MODEL",
        help="Hub id (openai-community/gpt2) or local folder.",
    )(function)


def machine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what changes the speed and not the result."""
    for option in reversed(_MACHINE):
        function = option(function)
    return function


def spec_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what is measured: the job's spec but for its model."""
    for option in reversed(_SPEC):
        function = option(function)
    return function


def count_option(default: int, what: str) -> Decorator:
    """Give the decorator that adds `-k`."""
    return click.option(
        "-k",
        "count",
        type=click.IntRange(min=1),
        metavar="K",
        default=default,
        show_default=True,
        help=what,
    )


def method_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--method`, one of the job's."""
    return click.option("--method", metavar="METHOD", help="One of the job's methods.  [default: its first]")(
        function
    )


def normalise_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--normalise`."""
    return click.option(
        "--normalise",
        is_flag=True,
        help="Show effects as shares of the mean clean - corrupted metric (for one pair: of its own).",
    )(function)


def submit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what a job is made of besides its spec: how many pairs, and its name."""
    for option in reversed(_JOB):
        function = option(function)
    return function


class _Size(click.ParamType[int]):
    """A number of bytes: `40GB`, `512MB`, `1.5TB`, `24GiB`; where `none` may be, 0 too."""

    name = "size"

    def __init__(self, *, none: bool = False) -> None:
        self._none = none

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(str(value).strip())
        bytes_each = None if match is None else _UNITS.get(match["unit"].upper().removesuffix("B"))
        if match is None or bytes_each is None or (not self._none and float(match["number"]) <= 0):
            self.fail(f"{value!r} is not a size: write 40GB", param, ctx)
        return int(float(match["number"]) * bytes_each)


def one_of(known: Sequence[str]) -> str:
    """Write the values an option takes; a wrong one is refused with the nearest by the spec itself."""
    return f"[{'|'.join(known)}]"


def site_list(text: str | None) -> tuple[str, ...]:
    """Read `z,mlp_out`; not given: what the method scores."""
    if text is None:
        return ()
    if not as_names(text):
        raise UsageError("no site given: name at least one, such as --sites z,mlp_out")
    return as_names(text)


def job_name(_ctx: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    """Refuse a job name that would be taken for something else."""
    if name is not None and (not name.strip() or name == "last" or name.isdigit()):
        raise UsageError(f"a job cannot be named {name!r}: choose a name that is not a number and not 'last'")
    return name


_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[A-Za-z]*)")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
SIZE = _Size()
SIZE_OR_NONE = _Size(none=True)

device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto (a GPU if available), cpu, cuda, cuda:1, sharded (a large model over all GPUs).",
)
revision_option = click.option("--revision", help="Branch, tag or commit on the hub.")
dtype_option = click.option(
    "--dtype",
    default="auto",
    show_default=True,
    metavar=one_of(names.DTYPES),
    help="Number type of the model; auto: the checkpoint's.",
)
batch_tokens_option = click.option(
    "--batch-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="Padded tokens per batch, halved when out of memory.  [default: auto-tuned]",
)
chunk_size_option = click.option(
    "--chunk-size",
    type=click.IntRange(1, 4096),
    show_default="an eighth of the pairs, from 16 to 64",
    metavar="N",
    help="Pairs per chunk: a chunk is measured and stored as one. Does not change results.",
)
metric_option = click.option(
    "--metric",
    default="logit_diff",
    show_default=True,
    metavar=one_of(names.METRICS),
    help="Scalar computed from the last position's logits.",
)
prepend_bos_option = click.option(
    "--prepend-bos/--no-prepend-bos",
    default=None,
    help="Put a BOS token before each prompt, or do not.  [default: the tokenizer's own behaviour]",
)
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Read only the first N pairs."
)
_MACHINE: tuple[Decorator, ...] = (device_option, batch_tokens_option)
_SPEC: tuple[Decorator, ...] = (
    revision_option,
    click.option(
        "--sites",
        default=None,
        show_default="z,mlp_out; edge",
        metavar="SITE,…",
        help="Sites to score: resid_pre, resid_mid, resid_post; q, k, v, z (per head); attn_out, mlp_out; "
        "mlp_post (neurons); edge (from the input, a head or an MLP to a later part).",
    ),
    click.option(
        "--positions",
        default="sum",
        show_default=True,
        metavar=one_of(names.POSITIONS),
        help="sum: one component for all positions; keep: one per position (counted from the end, or by "
        "the pairs' spans).",
    ),
    click.option(
        "--method",
        default="atp",
        show_default=True,
        metavar="METHOD,…",
        help="Scoring method. Nodes: atp (attribution patching: one gradient), atp* (with the attention "
        "pattern recomputed), ig (integrated gradients), relp (relevance propagation). Edges: eap, eap-ig. "
        "Several (atp,relp,ig) share one exact sample, drawn by the first.",
    ),
    click.option(
        "--source",
        default="pair",
        show_default=True,
        metavar=one_of(names.SOURCES),
        help="Activations to patch in: from the pair's other prompt, the mean, or zero.",
    ),
    click.option(
        "--steps",
        type=int,
        default=5,
        show_default=True,
        metavar="N",
        help="Points on the path over which ig and eap-ig average gradients.",
    ),
    click.option(
        "--path",
        default="embedding",
        show_default=True,
        metavar=one_of(names.PATHS),
        help="Path of ig: interpolate the model's input, or each site's activation.",
    ),
    click.option(
        "--grad-drop",
        is_flag=True,
        help="For atp*: also average over gradients that skip one layer each (GradDrop).",
    ),
    metric_option,
    click.option(
        "--direction",
        default="denoise",
        show_default=True,
        metavar=one_of(names.DIRECTIONS),
        help="denoise: patch clean activations into the corrupted run; noise: corrupted into the clean run.",
    ),
    click.option(
        "--exact",
        type=float,
        default=0.05,
        show_default=True,
        metavar="SHARE",
        help="Share of all (pair, component) cells to patch exactly, 0 to 1; estimates and verification use "
        "these cells.",
    ),
    click.option(
        "--only-correct",
        is_flag=True,
        help="Skip pairs whose clean run does not prefer the correct answer.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Random seed of the sample."),
    dtype_option,
    click.option(
        "--detail",
        default="pairs",
        show_default=True,
        metavar=one_of(names.DETAILS),
        help="Scores stored per pair. summary: none; pairs: summed over positions (the largest 20 of neurons "
        "and edges); positions: all.",
    ),
    prepend_bos_option,
)


def _read_columns(_ctx: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Read columns by field."""
    return parse_columns(texts)


columns_option = click.option(
    "--columns",
    multiple=True,
    callback=_read_columns,
    metavar="FIELD=COLUMN,…",
    help="Columns of the pair file by field, if its layout is not recognized: "
    "correct=country_idx,incorrect=corrupted_country_idx. Fields: clean, corrupted, correct, incorrect, id, "
    "spans; correct_idx and incorrect_idx for columns of token ids.",
)
_JOB: tuple[Decorator, ...] = (
    columns_option,
    limit_option,
    click.option("--name", callback=job_name, help="Job name, accepted wherever a job id is."),
)
