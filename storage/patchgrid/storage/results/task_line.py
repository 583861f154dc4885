"""The task summary as text, the same on screen, in notebooks and on the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from patchgrid.core.text.number_format import percent
from patchgrid.core.text.wording import counted
from patchgrid.core.types import TokenPiece, TokenText
from patchgrid.estimates.task import WEAK, Name, TaskSummary
from patchgrid.pairs.records.plain_json import read_answer

#: Answers of a side that are written out.
_SHOWN = 5


def task_line(task: TaskSummary, metric: str) -> str | None:
    """Summarize the unpatched runs in one line; None if unknown.

    `Task: clean +3.81, corrupted -3.62 (logit_diff); clean prefers the correct answer in 96 % of 50 pairs,
    corrupted the other in 94 %`.
    """
    if task.clean_share is None or task.corrupted_share is None:
        return None
    means = ""
    if task.clean_metric is not None and task.corrupted_metric is not None:
        means = f"clean {task.clean_metric:+.3g}, corrupted {task.corrupted_metric:+.3g} ({metric}); "
    return (
        f"Task: {means}clean prefers the correct answer in {percent(task.clean_share)} of "
        f"{counted(task.pairs, 'pair')}, corrupted the other in {percent(task.corrupted_share)}"
    )


def task_warnings(task: TaskSummary, answers: Sequence[str] = ()) -> list[str]:
    """Return warnings about the task; `answers` are the first pairs' answers as tokens."""
    lines = []
    if task.outside_vocabulary:
        lines.append(
            f"{counted(task.outside_vocabulary, 'pair')} failed because token ids of answers are outside the "
            f"model's vocabulary (first: {_names(task.outside_pairs)}): check that they come from its "
            "tokenizer"
        )
    if task.clean_share is not None and task.clean_share < WEAK:
        lines.append(
            "the model does not do the task on these pairs: clean prefers the correct answer in only "
            f"{percent(task.clean_share)}; {_consequence(task)}. Check prompts and answers{_shown(answers)}"
        )
    elif task.corrupted_share is not None and task.corrupted_share < WEAK:
        lines.append(
            f"corrupted prefers the other answer in only {percent(task.corrupted_share)} of pairs: expected "
            "if corrupted prompts have no answer of their own, otherwise check prompts and "
            f"answers{_shown(answers)}"
        )
    if task.swapped:
        lines.append(
            f"{counted(task.swapped, 'pair')} may have clean and corrupted swapped (clean prefers the "
            f"incorrect answer, corrupted the correct one; first: {_names(task.swapped_pairs)})"
        )
    return lines


def _consequence(task: TaskSummary) -> str:
    skipped = task.pairs - task.measured
    if not skipped:
        return "scores are meaningless"
    return f"scores are of the {counted(task.measured, 'pair')} it gets right, {skipped:,} were skipped"


def answer_words(answers: Sequence[Any], tokens: Sequence[str] | None) -> str:
    """Write a side's first answers: texts quoted, a token id never without its text.

    `answers` are `engine.types.Answer` or what the database has for them; `tokens` are their tokens as text,
    None: not known (the pair is not measured).
    """
    texts: Sequence[str | None] = tokens or [None] * len(answers)
    first = ", ".join(_answer(answer, text) for answer, text in zip(answers[:_SHOWN], texts, strict=False))
    return f"{first} and {len(answers) - _SHOWN:,} more" if len(answers) > _SHOWN else first


def _answer(answer: Any, token: str | None) -> str:
    if isinstance(answer, int):
        return f"{answer} ({'text unknown until measured' if token is None else repr(token)})"
    if isinstance(answer, Mapping):
        answer = read_answer(answer)
    if isinstance(answer, TokenPiece):
        return f"piece {answer.piece!r}"
    return repr(answer.text if isinstance(answer, TokenText) else answer)


def _shown(answers: Sequence[str]) -> str:
    return f"; the first pairs' are {'; '.join(answers)}" if answers else ""


def _names(names: Sequence[Name]) -> str:
    return ", ".join(str(name) for name in names)
