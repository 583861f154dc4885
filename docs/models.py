"""Write docs/models.md: what each family of models allows, measured by the checks that the tests make."""

import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from patchgrid.engine.model.families import FAMILIES, Family  # noqa: E402
from patchgrid.engine.model.shortcuts import Shortcuts  # noqa: E402
from patchgrid.engine.model.structure import REFUSED, text_type  # noqa: E402
from support.engine.cases import Case, tiny_case  # noqa: E402
from support.engine.composites import COMPOSITES, composite_case  # noqa: E402
from support.engine.shapes import FURTHER, MAIN  # noqa: E402

PAGE = Path(__file__).with_name("models.md")
#: Shapes that the tests add to a family's own: the same code by another switch.
_VARIANTS = ("gpt_neox_serial", "opt_projected", "falcon_alibi", "falcon_grouped", "stablelm_parallel")
#: A model on the hub of each type.
HUB = {
    "afmoe": "arcee-ai/Trinity-Mini",
    "apertus": "swiss-ai/Apertus-8B-2509",
    "arcee": "arcee-ai/AFM-4.5B",
    "biogpt": "microsoft/biogpt",
    "bitnet": "microsoft/bitnet-b1.58-2B-4T-bf16",
    "bloom": "bigscience/bloom-560m",
    "codegen": "Salesforce/codegen-350M-mono",
    "cohere": "CohereLabs/c4ai-command-r-v01",
    "cohere2": "CohereLabs/c4ai-command-r7b-12-2024",
    "ctrl": "Salesforce/ctrl",
    "cwm": "facebook/cwm",
    "dbrx": "databricks/dbrx-base",
    "deepseek_v2": "deepseek-ai/DeepSeek-V2-Lite",
    "deepseek_v3": "deepseek-ai/DeepSeek-V3",
    "ernie4_5": "baidu/ERNIE-4.5-0.3B-PT",
    "ernie4_5_moe": "baidu/ERNIE-4.5-21B-A3B-PT",
    "exaone4": "LGAI-EXAONE/EXAONE-4.0-1.2B",
    "exaone_moe": "LGAI-EXAONE/K-EXAONE-236B-A23B",
    "falcon": "tiiuae/falcon-7b",
    "flex_olmo": "allenai/FlexOlmo-7x7B-1T",
    "gemma": "google/gemma-2b",
    "gemma2": "google/gemma-2-2b",
    "gemma3_text": "google/gemma-3-1b-pt",
    "glm": "zai-org/glm-4-9b-hf",
    "glm4": "zai-org/GLM-4-9B-0414",
    "glm4_moe": "zai-org/GLM-4.5-Air",
    "gpt2": "openai-community/gpt2",
    "gpt_bigcode": "bigcode/gpt_bigcode-santacoder",
    "gpt_neo": "EleutherAI/gpt-neo-125m",
    "gpt_neox": "EleutherAI/pythia-160m",
    "gpt_oss": "openai/gpt-oss-20b",
    "gptj": "EleutherAI/gpt-j-6b",
    "granite": "ibm-granite/granite-3.3-2b-base",
    "granite_swa": "ibm-granite/granite-swash-2b",
    "granitemoe": "ibm-granite/granite-3.1-1b-a400m-base",
    "granitemoeshared": "ibm-research/moe-7b-1b-active-shared-experts",
    "helium": "kyutai/helium-1-2b",
    "hunyuan_v1_dense": "tencent/Hunyuan-0.5B-Pretrain",
    "hunyuan_v1_moe": "tencent/Hunyuan-A13B-Instruct",
    "hyperclovax": "naver-hyperclovax/HyperCLOVAX-SEED-Think-14B",
    "jais2": "inceptionai/Jais-2-8B-Chat",
    "llama": "meta-llama/Llama-3.2-1B",
    "llama4_text": "meta-llama/Llama-4-Scout-17B-16E (text part)",
    "minicpm3": "openbmb/MiniCPM3-4B",
    "minimax_m2": "MiniMaxAI/MiniMax-M2",
    "ministral3": "mistralai/Ministral-3-3B-Base-2512",
    "mistral": "mistralai/Mistral-7B-v0.3",
    "mixtral": "mistralai/Mixtral-8x7B-v0.1",
    "modernbert-decoder": "jhu-clsp/ettin-decoder-150m",
    "mpt": "mosaicml/mpt-7b",
    "nemotron": "nvidia/Minitron-4B-Base",
    "olmo": "allenai/OLMo-1B-hf",
    "olmo2": "allenai/OLMo-2-0425-1B",
    "olmo3": "allenai/Olmo-3-1025-7B",
    "olmoe": "allenai/OLMoE-1B-7B-0924",
    "opt": "facebook/opt-125m",
    "persimmon": "adept/persimmon-8b-base",
    "phi": "microsoft/phi-2",
    "phi3": "microsoft/Phi-3-mini-4k-instruct",
    "phimoe": "microsoft/Phi-3.5-MoE-instruct",
    "qwen2": "Qwen/Qwen2.5-0.5B",
    "qwen2_moe": "Qwen/Qwen1.5-MoE-A2.7B",
    "qwen3": "Qwen/Qwen3-0.6B-Base",
    "qwen3_moe": "Qwen/Qwen3-30B-A3B-Base",
    "seed_oss": "ByteDance-Seed/Seed-OSS-36B-Base",
    "smollm3": "HuggingFaceTB/SmolLM3-3B-Base",
    "stablelm": "stabilityai/stablelm-2-1_6b",
    "starcoder2": "bigcode/starcoder2-3b",
    "vaultgemma": "google/vaultgemma-1b",
    "xglm": "facebook/xglm-564M",
    "youtu": "tencent/Youtu-LLM-2B",
}
#: A model on the hub of each type that has other parts beside its text decoder.
COMPOSITE_HUB = {
    "aria": "rhymes-ai/Aria",
    "aya_vision": "CohereLabs/aya-vision-8b",
    "blip-2": "Salesforce/blip2-opt-2.7b",
    "fuyu": "adept/fuyu-8b",
    "gemma3": "google/gemma-3-4b-pt",
    "glm4v": "zai-org/GLM-4.1V-9B-Base",
    "got_ocr2": "stepfun-ai/GOT-OCR-2.0-hf",
    "idefics3": "HuggingFaceM4/Idefics3-8B-Llama3",
    "internvl": "OpenGVLab/InternVL3-1B-hf",
    "llama4": "meta-llama/Llama-4-Scout-17B-16E",
    "llava": "llava-hf/llava-1.5-7b-hf",
    "llava_onevision": "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
    "mistral3": "mistralai/Mistral-Small-3.1-24B-Base-2503",
    "mllama": "meta-llama/Llama-3.2-11B-Vision",
    "paligemma": "google/paligemma-3b-pt-224",
    "qwen2_5_vl": "Qwen/Qwen2.5-VL-3B-Instruct",
    "qwen2_audio": "Qwen/Qwen2-Audio-7B",
    "qwen2_vl": "Qwen/Qwen2-VL-2B",
    "qwen3_vl": "Qwen/Qwen3-VL-4B-Instruct",
    "qwen3_vl_moe": "Qwen/Qwen3-VL-30B-A3B-Instruct",
    "smolvlm": "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
    "voxtral": "mistralai/Voxtral-Mini-3B-2507",
}
#: Why types that a search by structure turns away, too, cannot be measured.
TURNED_AWAY = {
    "mamba, mamba2, falcon_mamba, rwkv, xlstm": "no attention: there are no heads, and no `z`",
    "jamba, nemotron_h, recurrent_gemma, lfm3, qwen3_next, qwen3_5_text, granitemoehybrid, kimi_linear, "
    "olmo_hybrid": "hybrids: some blocks have no softmax attention",
    "falcon_h1": "each block adds a state-space layer beside attention",
    "openai-gpt; opt-350m": "a norm follows the sum: nothing is added to a stream",
    "gemma4_text": "a third part, the input of each layer, is added, or the whole stream is scaled",
    "minimax, beam, doge, zaya": "the stream itself is scaled when a part is added to it",
    "longcat_flash": "two attentions and two MLPs a block",
    "t5, bart, whisper, florence2, t5gemma": "encoder-decoder",
    "bert, roberta, modernbert, EmbeddingGemma": "encoder-only: no next token is predicted",
    "idefics (the first)": "every few blocks attend to pictures, and its code wants one",
}


def cases(root: Path) -> Iterator[tuple[str, Case]]:
    """Make each family's tiny model."""
    for name in (*MAIN, *FURTHER):
        yield name, tiny_case(name, root)


def row(name: str, case: Case) -> tuple[str, ...]:
    """Measure one family."""
    engine = case.engine
    report = engine.check()
    slopes = max(
        check.error for check in report.checks if check.name.startswith("slope") and check.error is not None
    )
    missing = [f"no `{site}`" for site in report.missing]
    skipped = [field.name for field in fields(Shortcuts) if not getattr(engine.shortcuts, field.name)]
    return (
        f"`{report.model_type}`"
        + (f" ({name.removeprefix(report.model_type)[1:]})" if name in _VARIANTS else ""),
        HUB.get(report.model_type, ""),
        ", ".join(missing) or "all",
        "apart" if engine.graph.split else "whole",
        ", ".join(f"`{method}`" for method in unsupported_methods(case)) or "-",
        ", ".join(f"`{each}`" for each in skipped) or "-",
        f"{engine.self_check.error:.0e}",
        f"{slopes:.0e}",
        f"{hooks_error(case):.0e}",
        notes(FAMILIES[report.model_type], case),
    )


def composite_row(model_type: str, root: Path) -> tuple[str, ...]:
    """Measure the text decoder of a model with other parts."""
    case = composite_case(model_type, root / model_type)
    loaded = case.engine._model.envoy._module  # noqa: SLF001
    ids = torch.tensor([case.token_pairs[3].clean])
    with torch.no_grad():
        off = (loaded(input_ids=ids).logits - case.model.model(input_ids=ids).logits).abs().max()
    return (
        f"`{model_type}`",
        COMPOSITE_HUB[model_type],
        f"`{text_type(loaded)}`",
        f"{float(off):.0e}",
        f"{hooks_error(case):.0e}",
    )


def unsupported_methods(case: Case) -> list[str]:
    """Name the methods that the model refuses, each called with components it can score."""
    from patchgrid.core.errors import SpecError

    refused = []
    asked = {"atp*": ("q", "k"), "relp": ("z",), "ig": ("z",), "eap": ("edge",)}
    for method, sites in asked.items():
        try:
            case.engine.attribute(case.pairs[:1], sites=sites, method=method)
        except SpecError:
            refused.append(method)
    return refused


def hooks_error(case: Case) -> float:
    """Largest difference from scores and effects by plain hooks, as a share of the largest of each site."""
    from patchgrid.engine import Component

    worst = 0.0
    for direction, metric in (("denoise", "logit_diff"), ("noise", "logprob")):
        results = case.engine.attribute(case.pairs, sites=case.sites, direction=direction, metric=metric)
        for result, reference in zip(results, case.references(direction), strict=True):
            for site, expected in reference.scores(metric).items():
                worst = max(worst, _apart(result.scores["atp"][site], expected))
        layers = range(case.engine.layout.n_layers)
        components = [Component(site, layer) for site in case.sites for layer in layers]
        effects = case.engine.patch(case.pairs[3:5], components, direction=direction, metric=metric)
        for found, reference in zip(effects, case.references(direction)[3:5], strict=True):
            worst = max(worst, _apart(found, reference.effects(components, [metric])[metric]))
    return worst


def _apart(found: Any, expected: Any) -> float:
    # The one query of a prompt of one token has nothing to choose from: its score is 0.
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-3))


def notes(family: Family, case: Case) -> str:
    """Say what is special about a family's blocks."""
    config = case.model.model.config
    said = {
        "parallel": case.engine.layout.parallel,
        "post-norm": len(family.leads) > 1 and family.attn_out != family.attention,
        "norm before the output projection": family.projection != family.leads[-1]
        and "norm" in family.projection,
        "branches scaled": family.scale is not None,
        "experts": any("expert" in type(part).__name__.lower() for part in case.model.model.modules()),
        "latent attention": hasattr(config, "kv_lora_rank"),
    }
    return ", ".join(name for name, holds in said.items() if holds)


def page(rows: list[tuple[str, ...]], composites: list[tuple[str, ...]]) -> str:
    """Return the whole page."""
    titles = (
        "type",
        "for example",
        "sites",
        "attention's edges",
        "not supported",
        "shortcuts off",
        "parts",
        "slopes",
        "hooks",
        "notes",
    )
    others = ("type", "for example", "text decoder", "logits", "hooks")
    refused = [
        f"| {', '.join(f'`{each}`' for each in name.split(', '))} | {why} |" for name, why in REFUSED.items()
    ]
    refused += [f"| {name} | {why} |" for name, why in TURNED_AWAY.items()]
    return TEXT.format(
        count=len(FAMILIES),
        table=_table(titles, rows),
        composites=_table(others, composites),
        refused="\n".join(refused),
    )


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (titles, ("---",) * len(titles), *rows))


#: The page, but for its tables.
TEXT = """# Models

For people who want to know whether a model is supported, with which sites and methods. This page is made by
`python docs/models.py` from tiny random models of transformers' own code, in float32 on a CPU. For one model, with its
own weights:

```sh
patchgrid model check examples/demo_model
```

{count} families of causal language models are supported by record: where each keeps its attention, its output projection
and its MLP. The hub models named are examples of the type; they were not run for this page.

| column | meaning |
| --- | --- |
| sites | of `resid_pre`, `q`, `k`, `v`, `attn_pattern`, `z`, `attn_out`, `resid_mid`, `mlp_post`, `mlp_out`, `resid_post`. A parallel block has no stream between attention and MLP. `q`, `k`, `v` and `attn_pattern` need transformers' attention interface, `attn_pattern` also a softmax that can be recomputed exactly; keys and values are those of key-value heads. The experts' sum, shared experts included, is `mlp_out`; experts have no `mlp_post`. Where a model scales or norms a branch before adding it, `attn_out` and `mlp_out` are what is added |
| attention's edges | `apart`: to each head's query, key and value; `whole`: one for each layer's attention, where these are not visible or a gate reads the stream beside them |
| not supported | methods that are refused, with the reason. `atp*` of queries and keys needs a softmax that can be recomputed exactly, `relp` activations and gates that are modules of their own |
| shortcuts off | ways to compute less that the family's code does not allow, found when a model is loaded. They change the speed, no number |
| parts | largest error of input + attention + MLP against a block's output, as a share of it |
| slopes | largest error of three scores against central finite differences, in float32 |
| hooks | largest difference from scores and exact effects by plain PyTorch hooks, over pairs of six lengths in one batch, both directions |

{table}

## Vision-language and audio models

Of a model with a tower for images or sound, only the text decoder is loaded and measured, through the model's own code.

- **text decoder**: the type whose record is used. Types that are not listed are tried the same way.
- **logits**: largest difference from the whole model's logits on text.
- **hooks**: as above, with hooks on the whole model.

{composites}

`mllama`: blocks that attend to images only are left out, and blocks are counted without them. `paligemma`: its own code
attends both ways within a prompt and causally within an answer; here text is attended to causally.

## Types without a record

A model of another type is run on a few tokens when it is loaded. It is measured if a part of its first block's attention
and a part of its MLP add up, with the block's input, to the block's output, and an output projection leads to the first;
the self-check then looks at every block. Otherwise it is refused, with what is missing. Types that were tried and are
not supported:

| type | why |
| --- | --- |
{refused}

## Adapters and quantised weights

- **peft** (`pip install '.[peft]'`): a folder or repository with an `adapter_config.json` is loaded with its base
  model. In float32 a LoRA is merged into the weights, which is exact to rounding; in other dtypes, and with quantised
  weights, it runs unmerged, as it was trained. Adapters that add virtual tokens are refused, because their positions are
  not the prompt's.
- **quantised** (`pip install '.[quantised]'` for bitsandbytes): measured as they are. 8-bit bitsandbytes weights
  round the activations too: a pair's scores differ by up to a tenth from one batch to another. If a package is missing,
  the error names it. 4-bit and GPTQ weights (`gptqmodel`) take the same path and were not tested here.
"""


def main() -> None:
    """Measure all families and write the page."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        rows = sorted(row(name, case) for name, case in cases(Path(folder)))
        composites = [composite_row(name, Path(folder)) for name in COMPOSITES]
    PAGE.write_text(page(rows, composites), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")


if __name__ == "__main__":
    main()
