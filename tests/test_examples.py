"""The demo model does what its card says, and the example pair files are what their generator writes."""

import csv
import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from examples.demo_model import tokenizer as demo_tokenizer  # noqa: E402
from examples.demo_model import words  # noqa: E402
from examples.demo_model.evaluate import Accuracy, evaluate  # noqa: E402
from examples.demo_model.prompts import split  # noqa: E402
from examples.demo_model.train import Recipe, train  # noqa: E402
from examples.pairs.make_pairs import ioi_pairs, write_all  # noqa: E402

MODEL = ROOT / "examples" / "demo_model"
PAIRS = ROOT / "examples" / "pairs"
PAIR_FILES = (
    "gpt2_ioi.jsonl",
    "greater_than.csv",
    "greater_than.jsonl",
    "ioi.csv",
    "ioi.jsonl",
    "ioi_abc.jsonl",
    "ioi_spans.jsonl",
    "smollm2_ioi.jsonl",
)
DEMO_FILES = tuple(name for name in PAIR_FILES if name.endswith(".jsonl") and name != "gpt2_ioi.jsonl")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The committed tokenizer, as users load it."""
    return AutoTokenizer.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def accuracy() -> Accuracy:
    """What `evaluate.py` measures when run without options."""
    model = GPT2LMHeadModel.from_pretrained(MODEL).eval()
    return evaluate(model, demo_tokenizer.load(MODEL), count=1000, seed=1)


def read_jsonl(name: str) -> list[dict[str, Any]]:
    """Read the rows of an example file."""
    return [json.loads(line) for line in (PAIRS / name).read_text(encoding="utf-8").splitlines()]


def read_csv(name: str) -> list[dict[str, str]]:
    """Read the rows of an example file."""
    with (PAIRS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def as_list(answers: str | list[str]) -> list[str]:
    """Return one answer or several as a list."""
    return [answers] if isinstance(answers, str) else answers


def test_the_generator_writes_the_committed_files(tmp_path: Path) -> None:
    """The same seed gives the committed pair files, byte for byte, and no others."""
    write_all(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(PAIR_FILES)
    for name in PAIR_FILES:
        assert (tmp_path / name).read_bytes() == (PAIRS / name).read_bytes(), name


def test_pairs_are_distinct_and_a_larger_set_begins_with_the_smaller() -> None:
    """A benchmark's 2,000 pairs are 2,000 different ones."""
    pairs = ioi_pairs(2000)
    assert len({(pair["clean"], pair["correct"]) for pair in pairs}) == 2000
    assert pairs[:300] == ioi_pairs(300)


@pytest.mark.parametrize("name", DEMO_FILES)
def test_prompts_of_a_pair_have_equal_length_and_answers_are_one_token(name: str, tokenizer: Any) -> None:
    """Each answer adds one known token to the clean prompt and leaves the prompt's own tokens alone."""
    for row in read_jsonl(name):
        clean, corrupted = tokenizer(row["clean"]).input_ids, tokenizer(row["corrupted"]).input_ids
        assert len(clean) == len(corrupted)
        assert clean != corrupted
        assert tokenizer.unk_token_id not in clean + corrupted
        answers = as_list(row["correct"]) + as_list(row["incorrect"])
        assert len(set(answers)) == len(answers)
        for ids in tokenizer([row["clean"] + answer for answer in answers]).input_ids:
            assert ids[:-1] == clean
            assert ids[-1] != tokenizer.unk_token_id


def test_prompts_have_many_lengths(tokenizer: Any) -> None:
    """Batches of either behaviour are ragged."""
    for name in ("ioi.jsonl", "greater_than.jsonl"):
        assert len({len(tokenizer(row["clean"]).input_ids) for row in read_jsonl(name)}) >= 6


def test_csv_files_hold_the_pairs_of_the_jsonl_files(tokenizer: Any) -> None:
    """Token ids stand for the same answers; greater-than's `correct_idx` is the last incorrect year."""
    for row, ids in zip(read_jsonl("ioi.jsonl"), read_csv("ioi.csv"), strict=True):
        assert (ids["clean"], ids["corrupted"]) == (row["clean"], row["corrupted"])
        assert tokenizer.decode([int(ids["correct_idx"])]) == row["correct"]
        assert tokenizer.decode([int(ids["incorrect_idx"])]) == row["incorrect"]
    for row, years in zip(read_jsonl("greater_than.jsonl"), read_csv("greater_than.csv"), strict=True):
        assert (years["clean"], years["corrupted"]) == (row["clean"], row["corrupted"])
        assert years["correct_idx"] == row["incorrect"][-1]


def test_spans_name_the_tokens_of_both_people(tokenizer: Any) -> None:
    """`IO` is the answer's token, `S1` and `S2` the other name's, `end` the last token."""
    for row in read_jsonl("ioi_spans.jsonl"):
        ids = tokenizer(row["clean"]).input_ids
        text = {span: tokenizer.decode(ids[start:stop]) for span, (start, stop) in row["spans"].items()}
        assert text["IO"] == row["correct"]
        assert text["S1"] == text["S2"] == row["incorrect"]
        assert row["spans"]["S1"][0] < row["spans"]["S2"][0]
        assert row["spans"]["end"] == [len(ids) - 1, len(ids)]


def test_example_prompts_are_held_out_from_training() -> None:
    """Training and held-out combinations share nothing, and the pair files' people are held-out pairs."""
    trained, held_out = split()
    for field in ("name_pairs", "ioi_templates", "start_years", "year_templates"):
        seen, unseen = set(getattr(trained, field)), set(getattr(held_out, field))
        assert not seen & unseen
        assert 0.14 < len(unseen) / len(seen | unseen) < 0.16
    for row in read_jsonl("ioi.jsonl"):
        assert tuple(sorted((row["correct"].strip(), row["incorrect"].strip()))) in held_out.name_pairs


def test_the_tokenizer_gives_text_back(tokenizer: Any) -> None:
    """A word is one token with its leading space, a year is two, and decoding gives the text back."""
    for text in (
        "When Mary and John went to the store, John gave a drink to Mary.<|endoftext|>",
        "The war lasted from the year 1743 to the year 1756.",
    ):
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer.convert_ids_to_tokens(tokenizer(" 1743").input_ids) == ["Ġ17", "43"]
    assert all(len(tokenizer(f" {name}").input_ids) == 1 for name in words.NAMES)
    assert tokenizer.pad_token_id is not None
    assert tokenizer.bos_token == tokenizer.eos_token == demo_tokenizer.END
    assert tokenizer("zebra").input_ids == [tokenizer.unk_token_id]


def test_the_tokenizer_file_is_what_its_script_builds() -> None:
    """The committed tokenizer has the words that the prompts are made of."""
    assert demo_tokenizer.load(MODEL).get_vocab() == demo_tokenizer.build().get_vocab()


def test_the_model_is_right_on_what_it_never_saw(accuracy: Accuracy) -> None:
    """Both behaviours are right on at least 98 % of held-out combinations."""
    assert accuracy.ioi >= 0.98
    assert accuracy.greater_than >= 0.98


def test_the_model_card_tells_the_truth(accuracy: Accuracy) -> None:
    """The figures of the card are those that its command prints, and the sizes are the files' own."""
    card = (MODEL / "README.md").read_text(encoding="utf-8")
    printed = re.search(r"^\{.*\}$", card, flags=re.MULTILINE)
    assert printed is not None
    for name, value in json.loads(printed[0]).items():
        assert getattr(accuracy, name) == pytest.approx(value, abs=0.002), name
    size = (MODEL / "model.safetensors").stat().st_size
    assert size <= 5_000_000
    assert f"{size:,} bytes" in card
    parameters = sum(weight.numel() for weight in GPT2LMHeadModel.from_pretrained(MODEL).parameters())
    assert f"{parameters:,} parameters" in card


def test_training_is_the_same_again_from_the_same_seed() -> None:
    """Two short runs end with the same weights; another seed ends with others."""
    tokenizer = demo_tokenizer.build()
    recipe = Recipe(threads=torch.get_num_threads(), steps=4, batch=4, warmup=1, layers=1, heads=2, width=16)
    runs = [train(recipe, tokenizer).transformer.wte.weight for _ in range(2)]
    assert torch.equal(runs[0], runs[1])
    other = train(dataclasses.replace(recipe, seed=1), tokenizer).transformer.wte.weight
    assert not torch.equal(runs[0], other)
