"""The options that say what to patch exactly beyond a job's sample."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from patchgrid.cli.context import Decorator
from patchgrid.cli.errors import UsageError
from patchgrid.core.query import as_names
from patchgrid.core.refinement import Refinement, on_submit, with_positions

#: The options of a certificate, as fields of `Refinement`.
_CERTIFY = ("certify", "confidence", "tolerance", "max_exact", "signed")


class _Share(click.ParamType[float]):
    """A share; its bounds are checked where it is used."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        if isinstance(value, float):
            return value
        text = str(value).strip()
        number = text.removesuffix("%").strip()
        try:
            share = float(number)
        except ValueError:
            self.fail(f"{text!r} is not a share: write 0.05 or 5%", param, ctx)
        return share / 100 if text.endswith("%") else share


class _Top(click.ParamType[int]):
    """`top=20`, or `20`."""

    name = "top"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        text = str(value).strip().removeprefix("top=")
        if not (text.isascii() and text.isdigit()) or not int(text):
            self.fail(f"{value!r} is not a number of components: write top=20", param, ctx)
        return int(text)


SHARE = _Share()


def _with(options: tuple[Decorator, ...]) -> Decorator:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return add


certify_options = _with(
    (
        click.option(
            "--certify",
            type=_Top(),
            metavar="top=K",
            help="Patch in rounds until it is certain which K components have the largest |mean effect|.",
        ),
        click.option(
            "--confidence", type=SHARE, metavar="P", help="Confidence of the certificate.  [default: 0.95]"
        ),
        click.option(
            "--tolerance",
            type=SHARE,
            metavar="SHARE",
            help="With --certify: do not distinguish components that differ by less than this share of the "
            "K-th largest.  [default: 5%]",
        ),
        click.option(
            "--max-exact",
            type=SHARE,
            metavar="SHARE",
            help="With --certify: stop once this share of all cells is patched.  [default: 0.3]",
        ),
        click.option("--signed", is_flag=True, help="With --certify: rank by mean effect, not by its size."),
    )
)
#: Adds `--exact-top` and `--certify` to what submits a job.
refine_options = _with(
    (
        click.option(
            "--exact-top",
            type=click.IntRange(min=1),
            metavar="N",
            help="After the scores, patch every pair of the N components of largest |estimate|.",
        ),
        certify_options,
    )
)


def read_components(_ctx: click.Context, option: click.Parameter, text: str | None) -> tuple[str, ...]:
    """Read names separated by commas."""
    if text is not None and not as_names(text):
        raise UsageError(f"--{option.name} is empty: give names separated by commas")
    return () if text is None else as_names(text)


def refinement_of(
    *,
    exact: float | None,
    top: int | None,
    components: tuple[str, ...],
    positions: tuple[str, ...],
    **certify: Any,
) -> Refinement:
    """Put the options of `job refine` together."""
    if positions and not components:
        raise UsageError("--positions needs --components: name the components")
    if exact is not None and exact <= 0:
        raise UsageError(f"--exact {exact:g} is not a share above 0: write +0.05")
    named = with_positions(components, positions)
    settings = _certify_settings(certify)
    asked = {
        "exact": exact,
        "top": top,
        "components": named or None,
        "certify": settings.pop("certify", None),
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return Refinement(**given, **settings)


def refinements_of(exact_top: int | None, options: Mapping[str, Any]) -> tuple[Refinement, ...]:
    """Put the options of `run` and `submit` together."""
    return on_submit(exact_top or 0, **_certify_settings(options))


def split_options(values: dict[str, Any]) -> tuple[Refinement, ...]:
    """Take the options of `refine_options` out of a command's, and return what they ask for."""
    return refinements_of(values.pop("exact_top"), {name: values.pop(name) for name in _CERTIFY})


def _certify_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a certificate that are given; without `--certify` there must be none."""
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    if given and "certify" not in given:
        raise UsageError(f"--{next(iter(given)).replace('_', '-')} needs --certify")
    if given.pop("signed", False):
        given["ranking"] = "signed"
    return given
