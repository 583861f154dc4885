"""`patchgrid pairs check`: what a pair file holds, how a model's tokenizer sees it, and what would fail."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import click

from patchgrid.api.client.engines import load_engine
from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.errors import DONE, SOME_FAILED
from patchgrid.cli.execution.tokenizing import (
    Loaded,
    Sample,
    SampleAnswers,
    Tokenized,
    grouped_json,
    load_tokenizer,
    sample_json,
    say_tokenized,
    tokenize,
)
from patchgrid.cli.options import (
    columns_option,
    device_option,
    dtype_option,
    limit_option,
    metric_option,
    prepend_bos_option,
    revision_option,
)
from patchgrid.cli.terminal.progress import aloud
from patchgrid.cli.terminal.screen import say, show_json, visible
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.core.errors import ModelError
from patchgrid.core.names import model_name
from patchgrid.core.types import JobSpec
from patchgrid.estimates.task import TaskSummary, summarize_task
from patchgrid.pairs import PairFile, PairSummary
from patchgrid.storage.results.task_line import answer_words, task_line, task_warnings

#: Pairs that are run at a time.
_RUN = 256
#: Spans that are shown.
_SHOWN = 8


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "-m",
    "--model",
    metavar="MODEL",
    help="Hub id or local folder; only its tokenizer is needed.  [default: check the file alone]",
)
@revision_option
@prepend_bos_option
@columns_option
@limit_option
@click.option(
    "--forward", is_flag=True, help="Also run the model on all pairs, to test whether it does the task."
)
@metric_option
@device_option
@dtype_option
@with_settings
def check(
    settings: Settings,
    /,
    file: str,
    model: str | None,
    columns: dict[str, str],
    limit: int | None,
    forward: bool,
    device: str,
    dtype: str,
    metric: str,
    **query_values: Any,
) -> int:
    """Show the contents of pair file FILE: layout, pairs as tokens, lengths, and which pairs would fail.

    Tokens added before the text, such as a BOS, are in brackets. Needs no database, no GPU and, without
    --forward, only the model's tokenizer. Exit code 0 if all pairs are fine, 3 if some would fail, 2 if the
    file is refused.

    \b
    patchgrid pairs check pairs.csv -m openai-community/gpt2
    patchgrid pairs check pairs.csv -m ./model --forward --limit 200
    patchgrid pairs check pairs.csv --columns correct=country_idx,incorrect=corrupted_country_idx
    """
    if forward and model is None:
        raise click.UsageError("--forward needs a model: -m MODEL")
    spec = JobSpec.of(model=model_name(model or "none"), metric=metric, dtype=dtype, **query_values)
    with PairFile.open(file, limit=limit, columns=columns) as pairs:
        summary = pairs.check()
        loaded, tokenized = None, None
        if model is not None:
            loaded, why_not = load_tokenizer(spec)
            if loaded is None:
                raise ModelError(f"cannot tokenize the pairs: {why_not}")
            numbered = aloud(pairs.numbered(), summary.count, "tokenized")
            tokenized = tokenize(loaded, numbered, pairs.unit)
        task = _run(pairs, spec, device) if forward else None
        if settings.json:
            show_json(_document(pairs, summary, loaded, tokenized, task, spec))
        else:
            _show(pairs, summary, loaded, tokenized)
            _say(summary, tokenized, task, spec)
    return SOME_FAILED if tokenized is not None and tokenized.failing else DONE


def _run(file: PairFile, spec: JobSpec, device: str) -> TaskSummary:
    """Run the model on all pairs, and sum up whether it does the task."""
    engine = load_engine(spec.model, revision=spec.revision, device=device, dtype=spec.dtype, say=say)
    task, first, rest = TaskSummary(), 0, iter(aloud(file, file.check().count, "run"))
    while batch := list(islice(rest, _RUN)):
        results = engine.run(batch, metric=spec.metric, prepend_bos=spec.query.prepend_bos)
        task += summarize_task(
            [pair.id or first + row for row, pair in enumerate(batch)],
            [result.clean_metric for result in results],
            [result.corrupted_metric for result in results],
            [result.clean_preference for result in results],
            [result.corrupted_preference for result in results],
        )
        first += len(batch)
    return task


def _show(file: PairFile, summary: PairSummary, loaded: Loaded | None, tokenized: Tokenized | None) -> None:
    others = [each for each in summary.columns if len(set(each.split(" = "))) > 1]
    facts: list[tuple[str, object]] = [
        ("format", file.format),
        ("layout", summary.layout),
        ("columns", ", ".join(others) if others else "named as the fields are"),
        ("pairs", f"{summary.count:,}"),
        ("repeated pairs", f"{summary.repeated.count:,}"),
        ("groups", _groups(summary)),
    ]
    if loaded is not None and tokenized is not None:
        prefix = loaded.pairs.prefix
        facts.append(("before each text", repr(prefix.text) if prefix.ids else "nothing"))
        if (lengths := tokenized.length_range()) is not None:
            least, median, most = lengths
            facts.append(("tokens a prompt", f"{least} to {most}, median {median}"))
        facts.append(("pairs that would fail", f"{tokenized.failing:,}"))
    if summary.spans:
        facts.append(("spans", _spans(summary, tokenized)))
    show_table([Column("pair file"), Column(file.name)], facts)
    for number, sample in enumerate(tokenized.samples if tokenized is not None else ()):
        click.echo("" if number else f"\n{click.style('The first pairs as tokens', bold=True)}\n")
        show_table([Column(sample.place), Column("")], _sample(sample))


def _groups(summary: PairSummary) -> str:
    if summary.groups is None:
        return "none: each pair is its own"
    return f"{summary.groups:,}, {'as named' if summary.groups_named else 'by equal clean prompts'}"


def _spans(summary: PairSummary, tokenized: Tokenized | None) -> str:
    names = [
        name if tokenized is None else f"{name} ({tokenized.spans[name]:,} pairs)" for name in summary.spans
    ]
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _sample(sample: Sample) -> list[tuple[str, object]]:
    return [
        ("clean", _tokens(sample.clean, sample.prefix)),
        ("corrupted", _tokens(sample.corrupted, sample.prefix)),
        ("correct", _answers(sample.correct)),
        ("incorrect", _answers(sample.incorrect)),
    ]


def _tokens(tokens: Sequence[str], prefix: int) -> str:
    """Write tokens with bars between them, those that stand before the text in brackets."""
    before = "".join(f"[{token}] " for token in tokens[:prefix])
    return before + "|".join(tokens[prefix:])


def _answers(side: SampleAnswers) -> str:
    return answer_words(side.answers, side.texts)


def _say(summary: PairSummary, tokenized: Tokenized | None, task: TaskSummary | None, spec: JobSpec) -> None:
    for note in summary.notes:
        say(f"Note: {visible(note)}")
    if tokenized is not None:
        say_tokenized(tokenized, summary.count)
    if task is not None:
        say(task_line(task, spec.metric) or "Task: unknown, because no pair could be run")
        for warning in task_warnings(task):
            say(f"Warning: {warning}")


def _document(
    file: PairFile,
    summary: PairSummary,
    loaded: Loaded | None,
    tokenized: Tokenized | None,
    task: TaskSummary | None,
    spec: JobSpec,
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "file": file.name,
        "format": file.format,
        "layout": summary.layout,
        "columns": dict(each.split(" = ", 1) for each in summary.columns),
        "unused": list(summary.unused),
        "notes": list(summary.notes),
        "pairs": {"total": summary.count, "failing": None if tokenized is None else tokenized.failing},
        "repeated": summary.repeated.count,
        "groups": summary.groups,
        "spans": {name: None if tokenized is None else tokenized.spans[name] for name in summary.spans},
    }
    if loaded is not None and tokenized is not None:
        lengths = tokenized.length_range()
        document |= {
            "prefix": loaded.pairs.prefix.text,
            "tokens": None if lengths is None else dict(zip(("min", "median", "max"), lengths, strict=True)),
            "reasons": grouped_json(tokenized.reasons, "reason"),
            "warnings": grouped_json(tokenized.warnings, "warning"),
            "samples": sample_json(tokenized.samples),
        }
    if task is not None:
        document["task"] = {
            "metric": spec.metric,
            "pairs": task.pairs,
            "clean_metric": task.clean_metric,
            "corrupted_metric": task.corrupted_metric,
            "clean_share": task.clean_share,
            "corrupted_share": task.corrupted_share,
            "swapped": task.swapped,
            "warnings": task_warnings(task),
        }
    return document
