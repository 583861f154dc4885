"""The demo model with a neuron that attribution does not see: all it does goes through one that is off."""

import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from support.engine.models import DEMO_MODEL

#: Pairs that it shows on.
GREATER_THAN = DEMO_MODEL.parent / "pairs" / "greater_than.jsonl"
#: Fires less in clean prompts of `GREATER_THAN` than in corrupted ones, at the last position of each.
HIDDEN = "n1.284"
#: The neuron that it switches on: active only where the hidden one is that of a clean prompt.
SWITCH = "n3.100"
#: Where between the two runs the switch is.
_THRESHOLD = 1.26
#: The hidden one's mean activation there, over both prompts.
_MEAN = 0.64


def save_planted_model(folder: Path) -> Path:
    """Save the model below a folder.

    Patching `HIDDEN` switches the other neuron on, which says that the year is high. At the corrupted prompt
    the switch is off, so its slope, and all that attribution sees of `HIDDEN`, is about 0.
    """
    model = AutoModelForCausalLM.from_pretrained(DEMO_MODEL, dtype=torch.float32).eval()
    blocks = model.transformer.h
    line = torch.randn(model.config.n_embd, generator=torch.Generator().manual_seed(1))
    line -= line.mean()
    line /= line.norm()
    early, late = blocks[1].mlp, blocks[3].mlp
    early.c_proj.weight.data[284] += 10 * line
    early.c_proj.bias.data -= 10 * _MEAN * line
    reading = -30 * line / blocks[3].ln_2.weight.data
    late.c_fc.weight.data[:, 100] = reading
    late.c_fc.bias.data[100] = 30 * _THRESHOLD - reading @ blocks[3].ln_2.bias.data
    tokenizer, rows = AutoTokenizer.from_pretrained(DEMO_MODEL), model.lm_head.weight.data
    early_years, late_years = (
        rows[[tokenizer(f"{year:02d}").input_ids[-1] for year in years]].mean(0)
        for years in (range(2, 30), range(40, 95))
    )
    later = late_years - early_years
    late.c_proj.weight.data[100] = 3 * later / later.norm()
    out = folder / "planted"
    shutil.copytree(DEMO_MODEL, out)
    model.save_pretrained(out)
    return out
