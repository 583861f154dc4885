"""The task in words, the same on every screen, in notebooks and on the page: does the model do it?"""

from collections.abc import Sequence

from patchgrid.estimates.task import WEAK, Name, TaskSummary
from patchgrid.storage.wording import counted


def task_line(task: TaskSummary, metric: str) -> str | None:
    """Say in one line what the unpatched runs do; None where they are not known.

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
    """Say what is wrong with the task, a line each; `answers` are the first pairs' answers as tokens."""
    lines = []
    if task.outside_vocabulary:
        lines.append(
            f"{counted(task.outside_vocabulary, 'pair')} failed because token ids of answers are outside the "
            f"model's vocabulary (first: {_names(task.outside_pairs)}): were the ids made with another "
            "tokenizer?"
        )
    if task.clean_share is not None and task.clean_share < WEAK:
        shown = f" Answers of the first pairs: {', '.join(answers)}." if answers else ""
        lines.append(
            f"the model does not do the task on these pairs: clean prefers the correct answer in only "
            f"{percent(task.clean_share)}; scores explain noise.{shown} Check prompts, answers and, where "
            "answers are token ids, their tokenizer"
        )
    elif task.corrupted_share is not None and task.corrupted_share < WEAK:
        lines.append(
            f"corrupted prefers the other answer in only {percent(task.corrupted_share)} of pairs: expected "
            "where corrupted prompts have no answer of their own, else check them"
        )
    if task.swapped:
        lines.append(
            f"{counted(task.swapped, 'pair')} may have clean and corrupted swapped (clean prefers the "
            f"incorrect answer, corrupted the correct one; first: {_names(task.swapped_pairs)})"
        )
    return lines


def percent(share: float) -> str:
    """Write a share in whole percent; 100 % and 0 % only where it is all or none."""
    whole = round(100 * share)
    if whole == 100 and share < 1:
        return ">99 %"
    if whole == 0 and share > 0:
        return "<1 %"
    return f"{whole} %"


def _names(names: Sequence[Name]) -> str:
    return ", ".join(str(name) for name in names)
