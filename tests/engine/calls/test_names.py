"""What a wrong name may have meant: names of the field, of papers, of other libraries."""

import pytest

from patchgrid.core import names
from patchgrid.core.aliases import ALIASES
from patchgrid.core.errors import SpecError
from patchgrid.core.methods import METHODS
from patchgrid.core.names import check_name
from patchgrid.core.sites import SITES
from patchgrid.core.spec import JobSpec, job_settings


@pytest.mark.parametrize(
    ("kind", "wrong", "words"),
    [
        ("site", "heads", "did you mean 'z'?"),
        ("site", "Attention-Heads", "did you mean 'z'?"),
        ("site", "resid", "did you mean 'resid_pre' or 'resid_post'?"),
        ("site", "mlp", "did you mean 'mlp_out'?"),
        ("site", "neurons", "did you mean 'mlp_post'?"),
        ("site", "edges", "did you mean 'edge'?"),
        ("site", "hook_resid_post", "did you mean 'resid_post'?"),
        ("method", "ap", "did you mean 'atp'?"),
        ("method", "attribution_patching", "did you mean 'atp'?"),
        ("method", "AtP", "did you mean 'atp'?"),
        ("method", "integrated_gradients", "did you mean 'ig' or 'eap-ig'?"),
        ("method", "EAP_IG", "did you mean 'eap-ig'?"),
        ("metric", "logit_difference", "did you mean 'logit_diff'?"),
        ("metric", "kl-div", "did you mean 'kl'?"),
        ("direction", "denoising", "did you mean 'denoise'?"),
        ("dtype", "bf16", "did you mean 'bfloat16'?"),
        ("site", "atp", "'atp' is a method"),
        ("method", "logit_diff", "'logit_diff' is a metric"),
    ],
)
def test_a_wrong_name_is_refused_with_what_is_meant(kind: str, wrong: str, words: str) -> None:
    """Whatever letters it has; one of another kind is told so."""
    known = {
        "site": SITES,
        "method": METHODS,
        "metric": names.METRICS,
        "direction": names.DIRECTIONS,
        "dtype": names.DTYPES,
    }[kind]
    with pytest.raises(SpecError, match=f"unknown {kind}") as refused:
        check_name(kind, wrong, known, kind)
    assert words in str(refused.value)
    assert f"available: {', '.join(known)}" in str(refused.value)


def test_only_what_a_job_has_is_meant() -> None:
    """`attention` may be z or attn_out; a job of z alone has but one of them."""
    with pytest.raises(SpecError, match=r"did you mean 'z'\? available: z, mlp_out"):
        check_name("site of this job", "attention", ("z", "mlp_out"))


def test_every_alias_means_a_name_that_there_is() -> None:
    """And is none itself."""
    every = {*SITES, *METHODS, *names.METRICS, *names.DIRECTIONS, *names.SOURCES, *names.DTYPES}
    every |= {*names.POSITIONS, "model", *(each.name for each in job_settings()), "jsonl", "csv", "parquet"}
    every |= {"scores", "exact", "components", "chunk_size", "limit"}
    for kind, aliases in ALIASES.items():
        for alias, meant in aliases.items():
            assert set(meant) <= every, (kind, alias)
            assert (alias,) != meant


@pytest.mark.parametrize(
    ("setting", "wrong"), [("sites", "heads"), ("method", "ap"), ("metric", "logits_diff")]
)
def test_a_spec_refuses_with_the_setting_and_what_is_meant(setting: str, wrong: str) -> None:
    """So do the command line, the service and the client, which all make one."""
    with pytest.raises(SpecError, match="did you mean") as refused:
        JobSpec.of(**{"model": "gpt2", setting: (wrong,) if setting == "sites" else wrong})
    assert refused.value.field == setting
