"""Tiny random models of every family, saved to a folder the way a user's model lies on disk."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from support.engine.shapes import BASE, FURTHER, MAIN, SPECIAL
from support.engine.vocabulary import build_tokenizer

#: The trained model that comes with the repository.
DEMO_MODEL = Path(__file__).parents[3] / "examples" / "demo_model"
_VARIANTS = MAIN | FURTHER | SPECIAL
#: Families whose residual stream never exists between attention and MLP.
PARALLEL = (
    *("gpt_neox", "phi", "codegen", "cohere", "cohere2", "falcon", "falcon_grouped", "gptj"),
    "stablelm_parallel",
)
#: Tiny models that every test of the engine goes through.
FAMILIES = tuple(MAIN)
#: Of these every metric is tried in every direction: a metric reads logits, whatever model they are of.
THOROUGH = ("gpt2", "gemma2", "gpt_neox", "mixtral")
#: Every tiny model whose sites the engine must get right.
EVERY = (*MAIN, *FURTHER)


def each(
    main: Sequence[Any], further: Sequence[Any], families: Collection[str] = FAMILIES
) -> list[tuple[Any, ...]]:
    """Pair every tiny model with settings: `main` for those in `families`, `further` for the others."""
    chosen = [(name, main if name in families else further) for name in EVERY]
    return [
        (name, *(one if isinstance(one, tuple) else (one,))) for name, settings in chosen for one in settings
    ]


#: Families whose tokenizer puts a BOS before each prompt by itself.
_WITH_BOS = ("llama", "mistral", "gemma2", "gemma3_text", "opt", "opt_projected")


@dataclass(frozen=True)
class TestModel:
    """A model as the reference uses it, and the folder from which the engine loads the same one."""

    __test__ = False

    #: Family or variant name.
    name: str
    #: Folder with configuration, safetensors weights and tokenizer.
    folder: Path
    #: The float32 model, in evaluation mode.
    model: Any
    #: Its tokenizer.
    tokenizer: Any

    def double(self) -> "TestModel":
        """Return the same model in float64."""
        # Grouped matrix products of experts know no float64.
        model = AutoModelForCausalLM.from_pretrained(
            self.folder, dtype=torch.float64, experts_implementation="eager"
        ).eval()
        return TestModel(self.name, self.folder, model, self.tokenizer)


def random_model(name: str, seed: int = 0, **settings: Any) -> Any:
    """Make one variant's model with seeded random weights, biases and norms included."""
    model_type, changes = _VARIANTS[name]
    config = AutoConfig.for_model(model_type, **(BASE | changes | settings))
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def save_model(
    name: str, root: Path, *, seed: int = 0, tokenizer: Callable[[bool], Any] = build_tokenizer
) -> TestModel:
    """Save a variant's random model and its tokenizer to a folder below `root`."""
    folder = root / name
    model = random_model(name, seed)
    model.save_pretrained(folder)
    made = tokenizer(name in _WITH_BOS)
    made.save_pretrained(folder)
    return TestModel(name, folder, model, made)


def save_confident_model(
    name: str, root: Path, prompt: str, *, size: float = 20.0, **settings: Any
) -> TestModel:
    """Save a variant's random model whose largest logit behind a prompt is of the size that real ones have.

    Logits are capped at 30, as Gemma 2's are, where the variant caps them.
    """
    model = random_model(name, tie_word_embeddings=False, **settings)
    config = model.config.get_text_config()
    if getattr(config, "final_logit_softcapping", None):
        config.final_logit_softcapping = 30.0
    tokenizer = build_tokenizer(name in _WITH_BOS)
    ids = torch.tensor([tokenizer(prompt).input_ids])
    with torch.no_grad():
        for _ in range(4):  # a cap gives less than it takes
            largest = float(model(input_ids=ids, use_cache=False).logits[0, -1].abs().max())
            for parameter in model.get_output_embeddings().parameters():
                parameter.mul_(size / largest)
    folder = root / f"{name}-confident"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return TestModel(name, folder, model, tokenizer)


@cache
def demo_model() -> TestModel:
    """Load the repository's trained model for the reference."""
    model = AutoModelForCausalLM.from_pretrained(DEMO_MODEL, dtype=torch.float32).eval()
    return TestModel("demo_model", DEMO_MODEL, model, AutoTokenizer.from_pretrained(DEMO_MODEL))
