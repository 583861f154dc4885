"""What `report.py` runs, in which order, and what its page says about each."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.common.figures import Target


@dataclass(frozen=True)
class Section:
    """One run of a script."""

    #: Names the run on the command line and in the folder of figures.
    name: str
    title: str
    text: str
    #: The script's module.
    module: str
    arguments: tuple[str, ...]
    #: The arguments of a run that only shows that it works.
    quick: tuple[str, ...]
    #: The Python that has what the script needs.
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Ends of names of figures, and what they shall be.
    targets: Mapping[str, Target] = field(default_factory=dict)

    def command(self, *, quick: bool) -> str:
        """Write the command as a reader would type it; folders of this machine are left out."""
        words = self.quick if quick else self.arguments
        words = tuple(Path(word).name if word.startswith("/") else word for word in words)
        before = [f"{name}={value}" for name, value in self.environment.items()]
        return " ".join([*before, "python", "-m", self.module, *words])


_ONE_THREAD = {"OMP_NUM_THREADS": "1"}
_TINY = ("--shape", "tiny", "--rounds", "1")

ENGINE = Section(
    name="engine",
    title="Attribution",
    text="""All of `resid_post`, `attn_out`, `mlp_out` and `z` by position, against the floor: plain
transformers on the same pairs, clean forward, corrupted forward, backward to the embeddings, weights
frozen, left padding, last-position logits only. Once with the pairs as they are, whose prompts share a
prefix, and once with another first word in each corrupted prompt, so that nothing is shared. The ratio is
patchgrid's speed over the other side's.""",
    module="benchmarks.engine.attribution",
    arguments=("--count", "48"),
    quick=("--count", "4", *_TINY),
)
LOADING = Section(
    name="loading",
    title="Loading",
    text="""A model loaded in a fresh process, imports included, against transformers' own `AutoTokenizer` and
`AutoModelForCausalLM.from_pretrained`. A first load checks the model; later ones use the cache
(docs/workers.md).""",
    module="benchmarks.engine.loading",
    arguments=("--rounds", "5"),
    quick=("--shape", "tiny", "--rounds", "1"),
    environment=_ONE_THREAD,
)
PATCHING = Section(
    name="patching",
    title="Exact patching",
    text="""Every head of every layer in every pair, against one batched forward pass per head with plain
PyTorch hooks (base run and clean run computed once).""",
    module="benchmarks.engine.patching",
    arguments=("--count", "4"),
    quick=("--count", "2", *_TINY),
)
SETS = Section(
    name="sets",
    title="Sets of components",
    text="""Random halves of all neurons, and of all heads, each patched as a whole in every pair, against one
batched forward pass per half with plain PyTorch hooks. Every layer is changed: nothing but the positions
before the first difference and the vocabulary can be left out.""",
    module="benchmarks.engine.sets",
    arguments=("--count", "4", "--rounds", "5", "--threads", "1"),
    quick=("--count", "2", "--sets", "3", *_TINY),
)
SHORTCUTS = Section(
    name="shortcuts",
    title="Shortcuts",
    text="""What each shortcut saves: the time without it, over the time with all of them. `prefix`: tokens
before the first difference are computed once; `last_block`: the last block runs for the last position only;
`head`: only the answers' logits; `attention`: attention that a patch cannot change is not run; `repeats`:
prompts that pairs share are computed once (these pairs share none).""",
    module="benchmarks.engine.shortcuts",
    arguments=("--count", "32", "--patch-count", "1"),
    quick=("--count", "2", "--patch-count", "1", *_TINY),
)
PEERS = Section(
    name="peers",
    title="Peers",
    text="""The same attribution in a notebook: nnsight, one pair at a time, two forward passes and one
backward pass per pair, the same four sites; as tutorials write it, and with frozen weights and last-position
logits only.""",
    module="benchmarks.peers.compare",
    arguments=("--count", "48", "--rounds", "2", "--only", "nnsight"),
    quick=("--count", "2", "--only", "nnsight", *_TINY),
)
PIPELINE = Section(
    name="pipeline",
    title="Pipeline",
    text="""What `patchgrid run` adds to its engine: reading and submitting a pair file; claiming, measuring,
sampling and committing each chunk to SQLite; reading the results. The ratio is its time over that of the
engine alone. The cheaper a model, the larger this ratio: the demo model is the hardest case.""",
    module="benchmarks.jobs.pipeline",
    arguments=("--count", "64", "--demo-count", "1000", "--rounds", "5", "--threads", "1"),
    quick=("--count", "4", "--demo-count", "8", "--threads", "1", *_TINY),
)
MEMORY = Section(
    name="memory",
    title="Memory",
    text="""Peak memory of attribution above the loaded model, patchgrid over the floor, in batches of the
same size, each side in its own process.""",
    module="benchmarks.engine.memory",
    arguments=("--count", "64"),
    quick=("--count", "4", *_TINY),
)
STORAGE = Section(
    name="storage",
    title="Storage",
    text="""Chunks of 64 pairs, 2,880 scores a pair, exact effects for 5 % of the cells; claim and commit
included. PostgreSQL syncs every commit to the disk.""",
    module="benchmarks.jobs.storage",
    arguments=(),
    quick=("--pairs", "128", "--large", "1000", "--components", "330"),
    environment=_ONE_THREAD,
    targets={
        "stored, detail positions (pairs/s)": Target(5000),
        "one pair, all its scores (s)": Target(0.02, most=True),
        "one of 1,000,000 pairs (s)": Target(0.02, most=True),
        "top 20 of 1,000,000 pairs, running (s)": Target(1, most=True),
        "top 20 of 1,000,000 pairs, finished (s)": Target(1, most=True),
    },
)
PAIR_FILES = Section(
    name="pairfiles",
    title="Pair files",
    text="""The same short pairs read in each format, as `submit` reads them. Parquet is read in a separate
process, which a damaged file may crash.""",
    module="benchmarks.jobs.pair_files",
    arguments=(),
    quick=("--pairs", "1000", "--rounds", "1"),
    environment=_ONE_THREAD,
)
QUEUE = Section(
    name="queue",
    title="Queue",
    text="""Chunks claimed and committed by workers with an instant engine, as Celery workers and by direct
claims; the demo model's pairs from submit to done on PostgreSQL and Redis, over the time of the engine alone,
with one worker and with two, one thread each; `patchgrid submit` of a million pairs.""",
    module="benchmarks.jobs.queue",
    arguments=("--workers", "1,4,8", "--chunks", "1000", "--pairs", "8000", "--rounds", "2"),
    quick=("--workers", "1", "--chunks", "20", "--pairs", "0", "--large", "200"),
    environment=_ONE_THREAD,
    targets={
        "submit of 1,000,000 pairs (s)": Target(90, most=True),
        "submit of 1,000,000 pairs (MB)": Target(500, most=True),
        "Celery over direct": Target(0.85),
        "submit to done over bare engine, median round": Target(1.1, most=True),
        "two workers over one, median round": Target(1.85),
    },
)

SERVICE = Section(
    name="service",
    title="HTTP service",
    text="""Two hundred readers with about one request a second and twenty submitters of a small job every
four seconds, for a minute, while a worker measures; server, worker and clients share the machine.
Percentiles are over all answers of a kind. Then the server's memory during the upload of a gigabyte, and the
time of each endpoint with 10,000 jobs, one of them of a million pairs: the first request, and the best of
four more.""",
    module="benchmarks.jobs.service",
    arguments=(),
    quick=(
        "--seconds",
        "2",
        "--readers",
        "3",
        "--submitters",
        "1",
        "--upload",
        "1000000",
        "--jobs",
        "20",
        "--large",
        "500",
        "--databases",
        "SQLite",
    ),
    environment=_ONE_THREAD,
    targets={
        "job, p99 (ms)": Target(250, most=True),
        "jobs, p99 (ms)": Target(250, most=True),
        "components, p99 (ms)": Target(250, most=True),
        "errors": Target(0, most=True),
    },
)


def lens(python: str) -> Section:
    """Return the run with TransformerLens, in the Python that has it."""
    return Section(
        name="transformer-lens",
        title="TransformerLens",
        text="""`tools.analysis.attribution_patch` of TransformerLens 4.3, which scores heads and MLPs, one
pair at a time; patchgrid scores its four sites.""",
        module="benchmarks.peers.compare",
        arguments=("--count", "16", "--only", "transformer-lens"),
        quick=("--count", "2", "--only", "transformer-lens", *_TINY),
        python=python,
    )


def eap_ig(python: str, checkout: str | None) -> Section:
    """Return the run with EAP-IG, in the Python with its requirements."""
    given = ("--only", "eap-ig", *(("--eap-ig", checkout) if checkout else ()))
    return Section(
        name="eap-ig",
        title="EAP-IG",
        text="""The published code's node scores (`attribute_node`, method `EAP`), summed over positions and
averaged over pairs, in batches of 20; heads and embeddings are compared. It runs on `HookedTransformer` of
TransformerLens 2 or 3, and names `cuda` in its code: the benchmark substitutes the available device.""",
        module="benchmarks.peers.compare",
        arguments=("--count", "8", *given),
        quick=("--count", "2", *given, *_TINY),
        python=python,
    )


def edges(python: str, checkout: str | None) -> Section:
    """Return the run of edges, in the Python with EAP-IG's requirements, if any."""
    given = ("--eap-ig", checkout) if checkout else ()
    return Section(
        name="edges",
        title="Edges",
        text="""All edges by `eap` (32,491 for GPT-2 small), summed over positions and averaged over pairs,
against the published way: every head reads its own copy of the stream, and one buffer `[pair, position,
sender, d_model]` holds what all senders add. Measured are an optimized version of it in plain PyTorch
(weights frozen, one clean forward, last-position logits only) and, if it is installed, EAP-IG's own code.""",
        module="benchmarks.engine.edges",
        arguments=("--count", "16", "--rounds", "2", *given),
        quick=("--count", "2", *given, *_TINY),
        python=python,
    )


def sections() -> list[Section]:
    """Return all runs; peers run in the Pythons that the environment names."""
    named = os.environ.get
    eap_python = named("PATCHGRID_BENCH_EAP_IG_PYTHON", sys.executable)
    checkout = named("PATCHGRID_BENCH_EAP_IG")
    peers = [
        PEERS,
        lens(named("PATCHGRID_BENCH_LENS_PYTHON", sys.executable)),
        eap_ig(eap_python, checkout),
        edges(eap_python, checkout),
    ]
    return [
        LOADING,
        ENGINE,
        PATCHING,
        SETS,
        SHORTCUTS,
        *peers,
        PIPELINE,
        MEMORY,
        PAIR_FILES,
        STORAGE,
        QUEUE,
        SERVICE,
    ]
