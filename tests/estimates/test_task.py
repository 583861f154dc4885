"""Whether the model does the task, from preferences and metrics of unpatched runs."""

import math
from dataclasses import replace

import numpy as np
import pytest

from patchgrid.estimates import TaskSummary, summarize_task
from patchgrid.storage.results.task_line import answer_words, task_line, task_warnings

NAMES = ["a", "b", "c", "d", 4]
CLEAN, CORRUPTED = [2.0, 1.0, -1.0, 0.0, math.nan], [-2.0, 0.5, 1.0, -0.5, -1.0]


def summary() -> TaskSummary:
    """Four pairs: one right on both sides, one on neither, one swapped, one undecided; one is not known."""
    return summarize_task(NAMES, [4, 3, 2, 1, 9], [-4, -3, 2, 0, 9], CLEAN, CORRUPTED)


def test_pairs_are_counted_by_what_each_unpatched_run_prefers() -> None:
    """A tie is neither side's; a pair without a preference is left out of all of it."""
    found = summary()
    assert (found.pairs, found.clean_correct, found.corrupted_incorrect) == (4, 2, 2)
    assert (found.swapped, found.swapped_pairs) == (1, ("c",))
    assert (found.clean_metric, found.corrupted_metric) == (2.5, -1.25)
    assert found.difference == pytest.approx(3.75)


def test_skipped_pairs_count_in_shares_and_not_in_means() -> None:
    """A share over the kept ones alone would always be 100 %."""
    kept = np.array(CLEAN) > 0
    found = summarize_task(NAMES, [4, 3, 2, 1, 9], [-4, -3, 2, 0, 9], CLEAN, CORRUPTED, kept)
    assert (found.pairs, found.measured, found.clean_share) == (4, 2, 0.5)
    assert (found.clean_metric, found.corrupted_metric) == (3.5, -3.5)


def test_parts_add_up_to_the_whole() -> None:
    """Chunks are summarized one by one; names of examples stay few."""
    metrics = np.arange(5.0), -np.arange(5.0)
    parts = [
        summarize_task(NAMES[some], *(values[some] for values in (*metrics, CLEAN, CORRUPTED)))
        for some in (slice(0, 2), slice(2, 5))
    ]
    assert parts[0] + parts[1] == summarize_task(NAMES, *metrics, CLEAN, CORRUPTED)
    many = TaskSummary(swapped=2, swapped_pairs=("x", "y"))
    assert (many + many).swapped == 4
    assert (many + many).swapped_pairs == ("x", "y", "x")


def test_the_mean_difference_has_its_standard_error() -> None:
    """As NumPy has it."""
    clean, corrupted = np.array([3.0, 4, 3.5, 5]), np.array([1.0, -1, 0, 2])
    found = summarize_task("abcd", clean, corrupted, [1] * 4, [-1] * 4)
    differences = clean - corrupted
    assert found.difference == pytest.approx(differences.mean())
    assert found.difference_error == pytest.approx(differences.std(ddof=1) / 2)
    assert summarize_task("a", [1], [0], [1], [-1]).difference_error is None


def test_the_line_says_both_metrics_and_both_shares() -> None:
    """It is the first that every summary says."""
    assert task_line(summary(), "logit_diff") == (
        "Task: clean +2.5, corrupted -1.25 (logit_diff); "
        "clean prefers the correct answer in 50 % of 4 pairs, corrupted the other in 50 %"
    )
    assert task_line(TaskSummary(), "logit_diff") is None


def test_warnings_name_what_is_wrong() -> None:
    """A model that guesses, prompts that do not flip, swapped sides, ids of another tokenizer."""
    good = TaskSummary(pairs=10, measured=10, clean_correct=10, corrupted_incorrect=9)
    assert task_warnings(good) == []
    guesses = replace(good, clean_correct=5, swapped=2, swapped_pairs=("p1", 7))
    weak, swapped = task_warnings(guesses, ["'ĠMary' not 'ĠJohn'"])
    assert "does not do the task" in weak
    assert "50 %" in weak
    assert "the first pairs' are 'ĠMary' not 'ĠJohn'" in weak
    assert "scores are meaningless" in weak
    kept, _ = task_warnings(replace(guesses, measured=5))
    assert "scores are of the 5 pairs it gets right, 5 were skipped" in kept
    assert "2 pairs" in swapped
    assert "p1, 7" in swapped
    (flat,) = task_warnings(replace(good, corrupted_incorrect=5))
    assert "corrupted prefers the other answer in only 50 %" in flat
    (outside,) = task_warnings(replace(good, outside_vocabulary=3, outside_pairs=(0, 1, 2)))
    assert "vocabulary" in outside
    assert "0, 1, 2" in outside


def test_of_many_answers_the_first_are_written_out() -> None:
    """The years after another are a hundred."""
    years = [f"{year:02}" for year in range(100)]
    assert answer_words(years, None) == "'00', '01', '02', '03', '04' and 95 more"
    assert answer_words(years[:5], years[:5]) == "'00', '01', '02', '03', '04'"
    assert answer_words([7] * 6, ["'"] * 6) == ", ".join(['7 ("\'")'] * 5) + " and 1 more"
