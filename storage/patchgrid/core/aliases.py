"""What people call sites, methods and the rest elsewhere: for the suggestion beside a refusal."""

#: What the field, papers and other libraries call things, by the kind of name: in small letters, without
#: marks between them. Several: any of them may be meant.
ALIASES: dict[str, dict[str, tuple[str, ...]]] = {
    "site": {
        **dict.fromkeys(("head", "heads", "attnhead", "attentionhead", "attentionheads", "hookz"), ("z",)),
        **dict.fromkeys(("attention", "attn", "selfattn", "hookattnout"), ("z", "attn_out")),
        **dict.fromkeys(
            ("resid", "residual", "residualstream", "stream", "hidden", "hiddenstates"),
            ("resid_pre", "resid_post"),
        ),
        **dict.fromkeys(("embed", "embedding", "hookresidpre"), ("resid_pre",)),
        "hookresidmid": ("resid_mid",),
        "hookresidpost": ("resid_post",),
        **dict.fromkeys(("mlp", "mlps", "ffn", "feedforward", "hookmlpout"), ("mlp_out",)),
        **dict.fromkeys(("neuron", "neurons", "mlpneurons", "mlpact", "hookpost"), ("mlp_post",)),
        **dict.fromkeys(("edges", "path", "paths"), ("edge",)),
        **dict.fromkeys(("query", "queries", "hookq"), ("q",)),
        **dict.fromkeys(("key", "keys", "hookk"), ("k",)),
        **dict.fromkeys(("value", "values", "hookv"), ("v",)),
        "qkv": ("q", "k", "v"),
        **dict.fromkeys(("pattern", "patterns", "attentionpattern", "hookpattern"), ("attn_pattern",)),
    },
    "method": {
        **dict.fromkeys(("ap", "attribution", "attributionpatching", "attrib", "gradient", "nap"), ("atp",)),
        **dict.fromkeys(("atpstar", "qkfix"), ("atp*",)),
        **dict.fromkeys(("integratedgradients", "integratedgradient", "intgrad", "napig"), ("ig", "eap-ig")),
        **dict.fromkeys(("eapig", "edgeintegratedgradients"), ("eap-ig",)),
        **dict.fromkeys(("acdc", "edgeattribution", "edgeattributionpatching", "edges"), ("eap",)),
        **dict.fromkeys(("lrp", "relevance", "relevancepatching"), ("relp",)),
    },
    "metric": {
        **dict.fromkeys(("logitdifference", "logitsdiff", "ld", "logit"), ("logit_diff",)),
        **dict.fromkeys(("logprobability", "logprobs", "nll", "crossentropy", "loglikelihood"), ("logprob",)),
        **dict.fromkeys(
            ("prob", "probability", "probs", "probabilitydifference", "probdifference"), ("prob_diff",)
        ),
        **dict.fromkeys(("kldiv", "kldivergence", "divergence"), ("kl",)),
    },
    "direction": {
        **dict.fromkeys(("denoising", "cleantocorrupted", "restore"), ("denoise",)),
        **dict.fromkeys(("noising", "corruptedtoclean", "ablate", "corrupt"), ("noise",)),
    },
    "source": {
        **dict.fromkeys(
            ("resample", "patch", "interchange", "counterfactual", "corrupted", "clean"), ("pair",)
        ),
        **dict.fromkeys(("average", "meanablation"), ("mean",)),
        **dict.fromkeys(("zeros", "zeroablation", "none", "0"), ("zero",)),
    },
    "positions": {
        **dict.fromkeys(("all", "whole", "none"), ("sum",)),
        **dict.fromkeys(("each", "single", "token", "tokens"), ("keep",)),
    },
    "dtype": {
        **dict.fromkeys(("fp32", "f32", "float"), ("float32",)),
        "bf16": ("bfloat16",),
        **dict.fromkeys(("fp16", "f16", "half"), ("float16",)),
    },
    "format": {"json": ("jsonl",), "ndjson": ("jsonl",), "pq": ("parquet",), "tsv": ("csv",)},
    "export": {
        **dict.fromkeys(("effects", "cells"), ("exact",)),
        **dict.fromkeys(("top", "estimates", "heads"), ("components",)),
        **dict.fromkeys(("attribution", "attributions"), ("scores",)),
    },
    "setting": {
        **dict.fromkeys(("modelname", "modelpath", "modelid"), ("model",)),
        **dict.fromkeys(("site", "components", "hooks", "nodes"), ("sites",)),
        **dict.fromkeys(("methods", "algorithm"), ("method",)),
        **dict.fromkeys(("igsteps", "nsteps", "numsteps"), ("steps",)),
        **dict.fromkeys(("sample", "share", "exactshare", "fraction"), ("exact",)),
        **dict.fromkeys(("bos", "addbos"), ("prepend_bos",)),
        **dict.fromkeys(("ablation", "intervention"), ("source",)),
        **dict.fromkeys(("precision", "torchdtype"), ("dtype",)),
        **dict.fromkeys(("batchsize", "chunk", "chunks"), ("chunk_size",)),
        **dict.fromkeys(("n", "npairs", "maxpairs"), ("limit",)),
    },
}
