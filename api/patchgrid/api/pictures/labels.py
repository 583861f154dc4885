"""Text on pictures: tokens made visible, shortened, and drawn with the available fonts."""

import functools
import textwrap
from collections.abc import Sequence

#: Longest token label, in characters.
LONGEST = 16
#: Fallback fonts, used if installed.
_FALLBACKS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans CJK KR",
    "Source Han Sans",
    "WenQuanYi Micro Hei",
    "Hiragino Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Arial Unicode MS",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "Noto Sans Symbols2",
    "Noto Emoji",
)
_DEFAULT = "DejaVu Sans"
_STEPS = (1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 50, 64, 100)
_VISIBLE = {
    " ": "\N{OPEN BOX}",
    "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}",
    "\t": "\N{RIGHTWARDS ARROW TO BAR}",
}


def token_label(token: str) -> str:
    """Make a token visible: ` Mary` as `␣Mary`, an empty one as `∅`."""
    if not token:
        return "\N{EMPTY SET}"
    return elide("".join(_VISIBLE.get(character, character) for character in token), LONGEST)


def column_label(label: int | str | tuple[str, str]) -> str:
    """Write a position as a number, a token, or a token and its replacement."""
    if isinstance(label, int):
        return signed(str(label))
    return token_label(label) if isinstance(label, str) else " / ".join(map(token_label, label))


def pair_labels(tokens: Sequence[str], corrupted_tokens: Sequence[str]) -> list[int | str | tuple[str, str]]:
    """Label a pair's positions: by the token of both prompts, or by the two where they differ."""
    both = zip(tokens, corrupted_tokens, strict=True)
    return [clean if clean == corrupted else (clean, corrupted) for clean, corrupted in both]


def signed(number: str) -> str:
    """Write a number with a real minus sign, and none before zero."""
    text = number if float(number) else number.removeprefix("-")
    return text.replace("-", "\N{MINUS SIGN}")


def elide(text: str, length: int) -> str:
    """Shorten a text longer than `length` in the middle."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 3
    return f"{text[: length - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{text[len(text) - tail :]}"


def drawable(text: str) -> str:
    """Replace characters that no available font can draw by their code points, such as `\\u6771`."""
    return "".join(character if _has_glyph(character) else _code(character) for character in text)


def wrapped(text: str, inches: float, points: float) -> str:
    """Break each line of a title into lines that fit a width."""
    width = max(20, int(inches * 72 / (points * 0.5)))
    return "\n".join(textwrap.fill(line, width) for line in drawable(text).split("\n"))


def every(count: int, most: int) -> int:
    """Return the step (1, 2, 4, 5, 8, 10, 16, ...) that labels at most `most` of `count` ticks."""
    return next((step for step in _STEPS if count <= step * most), -(-count // most))


def families() -> tuple[str, ...]:
    """Return the default font and the installed fallbacks; readers of an SVG may have others."""
    return (*_installed(), "sans-serif")


@functools.cache
def _installed() -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    installed = {entry.name for entry in fontManager.ttflist}
    return (_DEFAULT, *(name for name in _FALLBACKS if name in installed))


@functools.cache
def _has_glyph(character: str) -> bool:
    from matplotlib.font_manager import findfont, get_font

    return character == "\n" or any(
        get_font(findfont(name, fallback_to_default=False)).get_char_index(ord(character))
        for name in _installed()
    )


def _code(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
