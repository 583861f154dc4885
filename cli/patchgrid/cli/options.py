"""Options that several commands share."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from patchgrid.cli.context import Decorator
from patchgrid.cli.errors import UsageError
from patchgrid.core.query import as_names
from patchgrid.core.settings import Setting
from patchgrid.core.spec import job_settings
from patchgrid.core.text.wording import read_size
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
    """Add what is measured: the job's spec without its model."""
    for option in reversed(_SPEC):
        function = option(function)
    return function


def count_option(default: int, what: str) -> Decorator:
    """Return the decorator that adds `-k`."""
    return click.option(
        "-k",
        "count",
        type=click.IntRange(min=1),
        metavar="K",
        default=default,
        show_default=True,
        help=what,
    )


def estimator_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--method`, one of the job's or all of them."""
    words = "One of the job's methods, or `combined`.  [default: combined, where there are several]"
    return click.option("--method", metavar="METHOD", help=words)(function)


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
        count = read_size(str(value))
        if count is None or (count == 0 and not self._none):
            self.fail(f"{value!r} is not a size: write 40GB", param, ctx)
        return count


def one_of(values: Sequence[str]) -> str:
    """Write the values an option takes; a wrong one is refused with the nearest by the spec itself."""
    return f"[{'|'.join(values)}]"


def site_list(text: str | None) -> tuple[str, ...]:
    """Read `z,mlp_out`; None: the methods' own default."""
    if text is None:
        return ()
    if not as_names(text):
        raise UsageError("no site given: name at least one, such as --sites z,mlp_out")
    return as_names(text)


def setting_option(setting: Setting) -> Decorator:
    """Make the option of a setting."""
    flag = f"--{setting.name.replace('_', '-')}"
    if setting.kind is bool and setting.optional:
        default = f"[default: {setting.default_words}]"
        return click.option(f"{flag}/--no-{flag[2:]}", default=None, help=f"{setting.words}. {default}")
    if setting.kind is bool:
        return click.option(flag, is_flag=True, help=f"{setting.words}.")
    return click.option(
        flag,
        type=setting.kind if setting.kind in (int, float) else str,
        default=setting.default or None if setting.kind is tuple else setting.default,
        show_default=setting.default_words is None,
        metavar=_metavar(setting),
        help=f"{setting.words}." + (f" [default: {setting.default_words}]" if setting.default_words else ""),
    )


def _metavar(setting: Setting) -> str:
    if setting.kind is tuple:
        return f"{setting.name.removesuffix('s').upper()},…"
    if setting.choices:
        return one_of(tuple(setting.choices))
    return (
        "N"
        if setting.kind is int
        else ("SHARE" if setting.most == 1 else "X")
        if setting.kind is float
        else setting.name.upper()
    )


def job_name(_ctx: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    """Refuse a job name that would be taken for something else."""
    if name is not None and (not name.strip() or name == "last" or name.isdigit()):
        raise UsageError(f"a job cannot be named {name!r}: choose a name that is not a number and not 'last'")
    return name


SIZE = _Size()
SIZE_OR_NONE = _Size(none=True)

device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto (a GPU if available), cpu, cuda, cuda:1, sharded (a large model over all GPUs).",
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
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Read only the first N pairs."
)
_MACHINE: tuple[Decorator, ...] = (device_option, batch_tokens_option)
_BY_SETTING = {each.name: setting_option(each) for each in job_settings()}
revision_option, dtype_option = _BY_SETTING["revision"], _BY_SETTING["dtype"]
metric_option, prepend_bos_option = _BY_SETTING["metric"], _BY_SETTING["prepend_bos"]
#: What is measured: an option a setting.
_SPEC: tuple[Decorator, ...] = tuple(_BY_SETTING.values())


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
    "spans, group; correct_idx and incorrect_idx for columns of token ids.",
)
_JOB: tuple[Decorator, ...] = (
    columns_option,
    limit_option,
    click.option("--name", callback=job_name, help="Job name, accepted wherever a job id is."),
)
