"""What is advised from a job's verification."""

import dataclasses
from typing import Any

import pytest

from patchgrid.storage import Database
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.advice import Advice, advise
from patchgrid.storage.results.site_agreement import SiteAgreement
from patchgrid.storage.results.verification import Cost
from support.storage.chunk_results import make_spec
from support.storage.storage_backends import submit_job

#: A method that could stand for exact patching.
GOOD = {"mean_pearson": 0.99, "mean_slope": 1.02, "mean_error": 0.14}
UNDER = {"mean_pearson": 0.98, "mean_slope": 1.33, "mean_error": 0.31}


def row(method: str = "atp", site: str = "mlp_out", **values: Any) -> SiteAgreement:
    """Make a row with small standard errors."""
    names = {field.name: field.type for field in dataclasses.fields(SiteAgreement)}
    blank = {name: 0 if kind is int else None for name, kind in names.items()}
    counts = {"n": 400, "cells": 1000, "compared": 400, "pairs": 100, "components": 12, "mean_n": 12}
    errors = {
        "mean_pearson_se": 0.01,
        "mean_slope_se": 0.05,
        "mean_error_se": 0.03,
        "mean_error_sampling": 0.9,
    }
    made = blank | counts | errors | {"top_k": 10, "top_patched": 10} | GOOD | values
    return SiteAgreement(**made | {"site": site, "method": method})


@pytest.fixture
def job(database: Database) -> JobRecord:
    """Return a job with one method."""
    return submit_job(database, 2)


def said(job: JobRecord, *rows: SiteAgreement, **seconds: float) -> list[str]:
    """Return what is advised, in words and commands."""
    cost = Cost({each.method: seconds.get(each.method) for each in rows}, 1.0, 10)
    found: list[Advice] = advise(job, rows, cost)
    return [each.text + (f" -> {each.command}" if each.command else "") for each in found]


def test_a_method_that_understates_gives_way_to_one_that_does_not(job: JobRecord) -> None:
    """The issue's own sentence."""
    words = said(job, row(**UNDER), row("ig"), atp=1.0, ig=5.0)
    assert words == ["MLPs (mlp_out): atp understates (slope 1.33); use ig (Pearson 0.990, slope 1.02)"]


@pytest.mark.parametrize("error", [0.15, 0.4])
def test_a_difference_within_its_standard_error_is_no_reason_to_change(job: JobRecord, error: float) -> None:
    """The cheaper one stays where the better one may be better by chance."""
    rows = (row(**GOOD | {"mean_error": 0.2}, mean_error_se=error / 4), row("ig"))
    assert said(job, *rows, atp=1.0, ig=5.0) == ["MLPs (mlp_out): use atp (Pearson 0.990, slope 1.02)"]
    noisy = (row(**UNDER | {"mean_slope_se": 0.2, "mean_error_se": 0.1}), row("ig"))
    assert said(job, *noisy, atp=1.0, ig=5.0) == ["MLPs (mlp_out): use atp (Pearson 0.980, slope 1.33)"]


def test_of_equals_the_cheaper_is_used(job: JobRecord) -> None:
    """Costs that are nearly the same leave the job's first method."""
    assert said(job, row("ig"), row("relp"), ig=5.0, relp=1.0) == [
        "MLPs (mlp_out): ig is no better and costs more; use relp (Pearson 0.990, slope 1.02)"
    ]
    assert "use ig" in said(job, row("ig"), row("relp"), ig=1.1, relp=1.0)[0]


def test_one_method_is_told_what_it_is_good_for_and_what_to_compare_it_with(job: JobRecord) -> None:
    """By what the figures say beyond their errors."""
    assert said(job, row()) == ["MLPs (mlp_out): use atp (Pearson 0.990, slope 1.02)"]
    for values, words in (
        (UNDER, "atp understates (slope 1.33); use it to rank, not for sizes; compare --method atp,ig"),
        (
            {"mean_slope": 0.5, "mean_error": 1.0},
            "atp overstates (slope 0.50); use it to rank, not for sizes",
        ),
        ({"mean_pearson": 0.4, "mean_error": 0.9}, "atp ranks components poorly (Pearson 0.40); compare"),
        ({"mean_pearson": 0.8, "mean_error": 0.6}, "atp ranks components only roughly (Pearson 0.80)"),
        ({"mean_slope": -0.9, "mean_pearson": -0.9}, "atp has the wrong sign (slope -0.90)"),
    ):
        (found,) = said(job, row(**values))
        assert words in found
    assert "--method atp,atp*" in said(job, row(site="q", **UNDER))[0]
    assert "--method eap,eap-ig" in said(job, row("eap", "edge", **UNDER))[0]


def test_noise_gives_no_advice_but_to_patch_or_measure_more(job: JobRecord) -> None:
    """More cells where these are what lacks, else more pairs."""
    few = "MLPs (mlp_out): too few cells are patched to judge atp"
    assert said(job, row(mean_error_se=0.9)) == [f"{few} -> job refine {job.id} --exact +0.05"]
    assert said(job, row(mean_error=None, mean_error_se=None))[0].startswith(few)
    pairs = "MLPs (mlp_out): 100 pairs are too few to judge atp"
    assert said(job, row(mean_error_se=0.9, mean_error_sampling=0.1)) == [pairs]
    assert said(job, row(mean_error_se=0.9, n=1000)) == [pairs]
    assert said(job, row(mean_error_se=None, components=2, top_patched=2)) == []
    assert said(job, row(mean_error_se=None, mean_slope=None)) == [], "all components have one mean score"


def test_a_top_list_that_was_not_patched_is_said_with_the_command_that_patches_it(job: JobRecord) -> None:
    """Whatever else is known of the site."""
    rows = row(site="mlp_post", components=9000, top_patched=0, mean_error_se=0.9)
    text = "neurons (mlp_post): none of the top 10 by atp are patched"
    assert said(job, rows)[1:] == [f"{text} -> job refine {job.id} --top 10"]
    assert "only 3 of the top 10" in said(job, row(top_patched=3))[1]
    assert len(said(job, row(components=4, top_patched=4))) == 1


def test_advice_on_a_job_names_only_methods_that_it_does_not_have(database: Database) -> None:
    """A row asked for alone does not hide the others."""
    job = submit_job(database, 2, spec=make_spec(method="atp,ig"))
    assert "--method atp,relp" in said(job, row(**UNDER))[0]
