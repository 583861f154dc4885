"""Shapes of the tiny models: what each family's configuration adds to a common base."""

from typing import Any

from support.engine.vocabulary import BOS, EOS, PAD, VOCABULARY

#: The longest prompt any tiny model takes.
CONTEXT = 24
#: Sliding window of the families that have one, smaller than most test prompts.
WINDOW = 4
LAYERS, HEADS, HIDDEN = 3, 4, 32

BASE: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.2,
    "attention_dropout": 0.2,
    "bos_token_id": VOCABULARY[BOS],
    "eos_token_id": VOCABULARY[EOS],
    "pad_token_id": VOCABULARY[PAD],
}
_GROUPED = {"num_key_value_heads": 2}
_WIDE_HEADS = {"head_dim": 12}
_LAYER_TYPES = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
_SLIDING = {"sliding_window": WINDOW}
_SOFTCAPS = {"final_logit_softcapping": 3.0, "attn_logit_softcapping": 5.0, "query_pre_attn_scalar": 10}
_OPT = {"ffn_dim": 48, "init_std": 0.2, "dropout": 0.2}
_LONG_ROPE = {
    "original_max_position_embeddings": 8,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 100.0,
        "short_factor": [1.0, 1.5, 2.0, 2.5],
        "long_factor": [3.0, 5.0, 7.0, 9.0],
    },
}

#: Family or variant to its model type and what its configuration adds to the base: those that every test
#: of the engine goes through.
MAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {"n_inner": 48}),
    "llama": ("llama", _GROUPED | _WIDE_HEADS | {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("mistral", _GROUPED | _WIDE_HEADS | _SLIDING),
    "qwen2": ("qwen2", _GROUPED | _SLIDING | _LAYER_TYPES | {"use_sliding_window": True}),
    "qwen3": ("qwen3", _GROUPED | _WIDE_HEADS),
    "gemma2": ("gemma2", _GROUPED | _WIDE_HEADS | _SLIDING | _LAYER_TYPES | _SOFTCAPS),
    "gemma3_text": ("gemma3_text", _GROUPED | _WIDE_HEADS | _SLIDING | _LAYER_TYPES | _SOFTCAPS),
    "gpt_neox": ("gpt_neox", {"hidden_dropout": 0.2}),
    "gpt_neox_serial": ("gpt_neox", {"hidden_dropout": 0.2, "use_parallel_residual": False}),
    "phi": ("phi", _GROUPED | {"resid_pdrop": 0.2, "embd_pdrop": 0.2, "qk_layernorm": True}),
    "phi3": ("phi3", _GROUPED | _SLIDING | {"resid_pdrop": 0.2}),
    "olmo2": ("olmo2", _GROUPED),
    "opt": ("opt", _OPT),
    "opt_projected": ("opt", _OPT | {"activation_function": "gelu", "word_embed_proj_dim": 20}),
    "granite": (
        "granite",
        _GROUPED
        | {"residual_multiplier": 0.4, "logits_scaling": 0.7, "embedding_multiplier": 2.0}
        | {"attention_multiplier": 0.4, "attention_bias": True},
    ),
    "mixtral": (
        "mixtral",
        _GROUPED | _WIDE_HEADS | {"num_local_experts": 4, "num_experts_per_tok": 2},
    ),
}

_TWO = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 24}
_MIXED = {"layer_types": ["sliding_attention", "full_attention"]} | _SLIDING
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
_ROUTED = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 12,
    "n_shared_experts": 1,
}
_ROUTED |= {"first_k_dense_replace": 1}
_LATENT = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 6}
_LATENT |= {"num_key_value_heads": HEADS}
_DROPOUTS = {"resid_pdrop": 0.2, "embd_pdrop": 0.2, "attn_pdrop": 0.2}
_PARTIAL = {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5}}
_DEFAULT = {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}

#: Families that go through the tests of every family, with two small layers.
FURTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "afmoe": ("afmoe", _GROUPED | _EXPERTS | _MIXED | {"num_dense_layers": 1, "head_dim": 4}),
    "apertus": ("apertus", _GROUPED),
    "arcee": ("arcee", _GROUPED),
    "biogpt": ("biogpt", {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2}),
    "bitnet": ("bitnet", _GROUPED | {"rms_norm_eps": 1e-2}),
    "bloom": ("bloom", {"n_layer": 2, "n_head": HEADS, "hidden_dropout": 0.2}),
    "codegen": ("codegen", {"rotary_dim": 4, "n_inner": 24} | _DROPOUTS),
    "cohere": ("cohere", _GROUPED | {"logit_scale": 1.5, "use_qk_norm": True}),
    "cohere2": ("cohere2", _GROUPED | _MIXED | {"logit_scale": 1.5}),
    "ctrl": ("ctrl", {"dff": 24, "n_positions": CONTEXT, "resid_pdrop": 0.2}),
    "cwm": ("cwm", _GROUPED | _MIXED | {"head_dim": 4} | _DEFAULT),
    "dbrx": (
        "dbrx",
        {
            "d_model": 16,
            "n_heads": HEADS,
            "n_layers": 2,
            "max_seq_len": CONTEXT,
            "resid_pdrop": 0.2,
            "attn_config": {"kv_n_heads": 2, "attn_pdrop": 0.2, "rope_theta": 100.0, "clip_qkv": 8.0},
            "ffn_config": {"ffn_hidden_size": 24, "moe_num_experts": 4, "moe_top_k": 2},
        },
    ),
    "deepseek_v2": ("deepseek_v2", _ROUTED | _LATENT | {"n_group": 1, "topk_group": 1}),
    "deepseek_v3": ("deepseek_v3", _ROUTED | _LATENT | {"n_group": 2, "topk_group": 1}),
    "ernie4_5": ("ernie4_5", _GROUPED | {"head_dim": 4}),
    "ernie4_5_moe": (
        "ernie4_5_moe",
        _GROUPED
        | {"moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 12, "moe_num_shared_experts": 1}
        | {"moe_layer_start_index": 1, "moe_layer_end_index": 1},
    ),
    "exaone4": ("exaone4", _GROUPED | _MIXED | {"head_dim": 4}),
    "exaone_moe": (
        "exaone_moe",
        _GROUPED
        | _MIXED
        | _EXPERTS
        | {"head_dim": 4, "num_shared_experts": 1, "first_k_dense_replace": 1}
        | {"n_group": 1, "topk_group": 1, "mlp_layer_types": ["dense", "sparse"]},
    ),
    "falcon": ("falcon", {"multi_query": True, "parallel_attn": True, "bias": False, "hidden_dropout": 0.2}),
    "falcon_alibi": (
        "falcon",
        {"multi_query": False, "parallel_attn": False, "bias": True, "alibi": True, "hidden_dropout": 0.2},
    ),
    "falcon_grouped": (
        "falcon",
        {"new_decoder_architecture": True, "num_kv_heads": 2, "hidden_dropout": 0.2},
    ),
    "flex_olmo": ("flex_olmo", _GROUPED | {"num_experts": 4, "num_experts_per_tok": 2}),
    "gemma": ("gemma", {"num_key_value_heads": 1, "head_dim": 6}),
    "glm": ("glm", _GROUPED | {"head_dim": 8, "attention_bias": True} | _PARTIAL),
    "glm4": ("glm4", _GROUPED | {"head_dim": 8, "attention_bias": True} | _PARTIAL),
    "glm4_moe": (
        "glm4_moe",
        _GROUPED | _ROUTED | {"head_dim": 8, "use_qk_norm": True, "n_group": 1, "topk_group": 1} | _PARTIAL,
    ),
    "gpt_bigcode": ("gpt_bigcode", {"n_inner": 24, "multi_query": True} | _DROPOUTS),
    "gpt_neo": (
        "gpt_neo",
        {"num_layers": 2, "num_heads": HEADS, "window_size": WINDOW, "resid_dropout": 0.2}
        | {"attention_types": [[["global", "local"], 1]], "attention_layers": ["global", "local"]},
    ),
    "gpt_oss": (
        "gpt_oss",
        _GROUPED | _MIXED | {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 4} | _DEFAULT,
    ),
    "gptj": ("gptj", {"rotary_dim": 4, "n_inner": 24} | _DROPOUTS),
    "granite_swa": ("granite_swa", _GROUPED | _MIXED | {"residual_multiplier": 0.4, "logits_scaling": 0.7}),
    "granitemoe": (
        "granitemoe",
        _GROUPED
        | {"residual_multiplier": 0.4, "num_local_experts": 4, "num_experts_per_tok": 2}
        | {"logits_scaling": 0.7},
    ),
    "granitemoeshared": (
        "granitemoeshared",
        _GROUPED
        | {"residual_multiplier": 0.4, "num_local_experts": 4, "num_experts_per_tok": 2}
        | {"shared_intermediate_size": 12},
    ),
    "helium": ("helium", _GROUPED | {"head_dim": 4}),
    "hunyuan_v1_dense": ("hunyuan_v1_dense", _GROUPED | {"head_dim": 4}),
    "hunyuan_v1_moe": ("hunyuan_v1_moe", _GROUPED | {"head_dim": 4, "num_experts": 4, "moe_topk": 2}),
    "hyperclovax": ("hyperclovax", _GROUPED | {"residual_multiplier": 0.4, "use_post_norm": True}),
    "jais2": ("jais2", _GROUPED),
    "llama4_text": (
        "llama4_text",
        _GROUPED
        | {"head_dim": 4, "num_local_experts": 4, "num_experts_per_tok": 1, "intermediate_size_mlp": 24}
        | {"moe_layers": [1], "no_rope_layers": [1, 0], "attention_chunk_size": 64}
        | {"layer_types": ["chunked_attention", "full_attention"]},
    ),
    "minicpm3": ("minicpm3", _LATENT | {"scale_depth": 0.8, "scale_emb": 2.0, "dim_model_base": 8}),
    "minimax_m2": (
        "minimax_m2",
        _GROUPED | {"head_dim": 4, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "ministral": ("ministral", _GROUPED | _MIXED | {"head_dim": 4}),
    "ministral3": ("ministral3", _GROUPED | {"head_dim": 4}),
    "modernbert-decoder": (
        "modernbert-decoder",
        {"local_attention": 6, "global_attn_every_n_layers": 2, "mlp_dropout": 0.2}
        | {"layer_types": ["sliding_attention", "full_attention"]},
    ),
    "mpt": (
        "mpt",
        {"d_model": 16, "n_heads": HEADS, "n_layers": 2, "max_seq_len": CONTEXT, "resid_pdrop": 0.2}
        | {"expansion_ratio": 2},
    ),
    "nanochat": ("nanochat", _GROUPED | {"head_dim": 4}),
    "nemotron": ("nemotron", _GROUPED),
    "olmo": ("olmo", _GROUPED | {"clip_qkv": 8.0}),
    "olmo3": ("olmo3", _GROUPED | _MIXED),
    "olmoe": ("olmoe", _GROUPED | {"num_experts": 4, "num_experts_per_tok": 2}),
    "persimmon": ("persimmon", {"qk_layernorm": True, "hidden_dropout": 0.2}),
    "phimoe": ("phimoe", _GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen2_moe": (
        "qwen2_moe",
        _GROUPED | _EXPERTS | {"shared_expert_intermediate_size": 12, "mlp_only_layers": [0]},
    ),
    "qwen3_moe": ("qwen3_moe", _GROUPED | _EXPERTS | {"head_dim": 4}),
    "seed_oss": ("seed_oss", _GROUPED | {"head_dim": 4, "residual_dropout": 0.2}),
    "smollm3": ("smollm3", _GROUPED | {"no_rope_layers": [1, 0]}),
    "stablelm": ("stablelm", _GROUPED | {"hidden_dropout": 0.2, "qk_layernorm": True} | _PARTIAL),
    "stablelm_parallel": (
        "stablelm",
        {"hidden_dropout": 0.2, "num_key_value_heads": HEADS, "use_parallel_residual": True} | _PARTIAL,
    ),
    "starcoder2": ("starcoder2", _GROUPED | _SLIDING | {"residual_dropout": 0.2}),
    "vaultgemma": ("vaultgemma", _GROUPED | _MIXED | _SOFTCAPS | {"head_dim": 4}),
    "xglm": (
        "xglm",
        {"d_model": 16, "ffn_dim": 24, "num_layers": 2, "attention_heads": HEADS, "dropout": 0.2},
    ),
    "youtu": ("youtu", _LATENT),
}
FURTHER = {name: (kind, _TWO | changes) for name, (kind, changes) in FURTHER.items()}

#: Models that are special cases, tested by themselves.
SPECIAL: dict[str, tuple[str, dict[str, Any]]] = {
    "opt_post_norm": ("opt", _OPT | {"do_layer_norm_before": False}),
    "phi3_longrope": ("phi3", _GROUPED | _LONG_ROPE),
}
