"""What a dry run makes of the pairs it tokenizes."""

import pytest

from patchgrid.cli import dryrun
from patchgrid.engine import Pair
from patchgrid.engine.tokens import PairTokenizer
from support.vocabulary import VOCABULARY, build_tokenizer


def pair(correct: str, id: str | None = None) -> Pair:  # noqa: A002
    """A pair whose answer decides whether it fails."""
    return Pair("Mary gave it to", "John gave it to", correct, " Mary", id)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_pairs_are_counted_and_numbered_through_all_batches(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pair without an id is named by its row, whatever batch it is in."""
    monkeypatch.setattr(dryrun, "_BATCH", batch)
    tokenizer = PairTokenizer(build_tokenizer(), vocabulary=len(VOCABULARY), context=None, prepend_bos=None)
    pairs = [*[pair(" John")] * 4, pair("John"), pair(" John Tom"), pair(" Tom Anna", "named"), pair("Tom")]
    found = dryrun.tokenize(tokenizer, iter(pairs))
    reason = "pair 5: correct answer ' John Tom' is 2 tokens after the prompt, not one"
    assert (found.failing, found.reasons) == (2, [(reason, 2)])
    ((warning, count),) = found.warnings
    assert (warning.endswith("did you mean ' John'?"), count) == (True, 2)
    assert dryrun.tokenize(tokenizer, iter([])) == dryrun.Tokenized(0, [], [])
