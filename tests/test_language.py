"""Product text and documentation use the field's words: these phrases must not come back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Checked files: everything that people read, including docstrings, comments and names.
TEXTS = (
    *("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/**/*.md", "examples/**/*.md"),
    *("docker-compose.yml", "Dockerfile"),
    *("storage/**/*.py", "workers/**/*.py", "api/**/*.py", "cli/**/*.py", "docker/*.py"),
    *("api/patchgrid/api/page/index.html", "api/patchgrid/api/page/assets/**/*.js"),
)
#: Phrase to its replacement. A space in a phrase matches any gap, including a line's end.
INSTEAD = {
    r"bells?": "wake-up, notify",
    r"rung|rang": "sent, received",
    r"goes on|go on|went on|going on": "resume, continue",
    r"takes? it up again|taken? up again": "retry, resume",
    r"tr(y|ies|ied|ying) it again|tr(ies|ied|ying) again": "retry",
    r"(was|is|are|were) given up|given up after|given up or|gave up": "failed, evicted, cancelled",
    r"(can|could|may|might|is to) ?(not)? be had|to be had|is had of": "supported, available",
    r"found out if not given": "default: auto",
    r"work(s|ed|ing)? off": "run, process",
    r"laid to": "attributed to, counts against",
    r"lets? go of|let go": "release",
    r"more than it has|what it came to|came to": "results",
    r"so many (seconds|bytes|pairs|digits|decimals|of|a|at)": "N seconds, a number of",
    r"asked for work|asked anew|made anew|anew": "poll, again, recompute",
    r"meanwhile": "in the meantime; or leave it out",
    r"signs? of life": "heartbeat",
    r"heard of": "seen, last heartbeat",
    r"for good": "permanently",
    r"(is|are|stays?) away": "is unavailable",
    r"at hand|in hand": "current, running, available",
    r"without a word": "silently",
    r"good for (nothing|something|what)": "valid, revoked",
    r"whoever": "anyone who; name who it is",
    r"hands? in|handed in": "commit, submit",
    r"leases? (that )?(runs?|ran|has run|have run|is to run) out": "lease expired",
    r"told apart|tells apart": "distinguished",
    r"stands? behind": "follows",
    r"is no (token|file|list|object|text|pair|worker|task|message|server|model|component)": "is not a …",
    r"known here": "available: …",
    r"may not be written|cannot be read: is it": "no permission, invalid",
    r"a defect|defects": "a bug",
    r"carefully|taskwords|leftout": "isolate, task line, load backoff",
    r"what became of": "outcome, result",
    r"what (waits|answers)": "queue; database or server",
    r"now and then": "at intervals, rarely",
    r"as it stands": "current, current state",
    r"(ask|asks|asked|asking) again": "retry",
    r"how far (a|the) (job|run) (is|was)": "progress",
    r"made ready": "created, upgraded",
    r"hears once": "is told once",
    r"worked_off|work_off|goes_on_for|chunks_again": "run, remaining_owners, chunks_retried",
}
#: Code whose docstrings say what a function returns or yields, not what it gives.
DOCSTRINGS = (
    *("storage/**/*.py", "api/**/*.py", "cli/**/*.py", "workers/**/*.py"),
    *("tests/**/*.py", "benchmarks/**/*.py", "docs/*.py"),
)
_GAP = r"[\s\"'#*`]+(?:f[\"'])?"


def faults(text: str) -> list[tuple[int, str, str]]:
    """Return line, phrase and replacement of each phrase in a text."""
    found = []
    for phrase, better in INSTEAD.items():
        for match in re.finditer(rf"\b(?:{phrase.replace(' ', _GAP)})\b", text, re.IGNORECASE):
            line = text.count("\n", 0, match.start()) + 1
            found.append((line, " ".join(match[0].split()), better))
    return sorted(found)


def texts() -> list[Path]:
    """List the checked files, without third parties' files."""
    paths = {path for pattern in TEXTS for path in ROOT.glob(pattern)}
    return sorted(path for path in paths if not {"vendor", ".venv", "build"} & set(path.parts))


def test_no_phrase_has_come_back() -> None:
    """The failure lists each with its file, line and replacement."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {phrase!r}; write: {better}"
        for path in texts()
        for line, phrase, better in faults(path.read_text())
    ]
    assert not wrong, f"{len(wrong)} phrases to replace:\n" + "\n".join(wrong)


def test_no_docstring_begins_with_give() -> None:
    """Functions return or yield; a property is a noun phrase."""
    paths = sorted({path for pattern in DOCSTRINGS for path in ROOT.glob(pattern)})
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in paths
        for line, text in enumerate(path.read_text().splitlines(), 1)
        if re.match(r'\s*"""Gives?\b', text)
    ]
    assert not wrong, "write Return, Yield or a noun phrase:\n" + "\n".join(wrong)
    assert len(paths) > 400


@pytest.mark.parametrize(
    ("text", "line", "phrase"),
    [
        ("A worker wakes\nwhen a bell rings.", 2, "bell"),
        ('say("the same command goes "\n    f"on where it stopped")', 1, 'goes " f"on'),
        ("# The job\n# goes\n# on.", 2, "goes # on"),
    ],
)
def test_a_phrase_is_found_across_lines(text: str, line: int, phrase: str) -> None:
    """In prose, in adjacent strings, and in comments."""
    assert [found[:2] for found in faults(text)] == [(line, phrase)]


def test_every_kind_of_text_is_checked() -> None:
    """A pattern that matches no file would check nothing."""
    assert all(any(ROOT.glob(pattern)) for pattern in TEXTS)
    assert len(texts()) > 200
