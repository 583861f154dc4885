"""Prompt pairs for the tiny models: several lengths, and differences at the start, the middle and the end."""

from patchgrid.engine import Pair

#: Pairs of 14, 5, 1, 17, 7 and 5 tokens; with and without a shared beginning; one and several answers.
PAIRS = (
    Pair(
        "When Mary and John went to the shop, John gave a ball to",
        "When Mary and John went to the shop, Mary gave a ball to",
        correct=" Mary",
        incorrect=" John",
    ),
    Pair("Mary took the red book", "John took the red book", correct=" and", incorrect=(" to", " of")),
    Pair("Mary", "John", correct=" and", incorrect=" was"),
    Pair(
        "Then the big old dog said that the cat was in the park and it was red",
        "Then the big old dog said that the cat was in the park and it was blue",
        correct=" and",
        incorrect=" then",
    ),
    Pair(
        "The cat took Tom to the park",
        "The dog gave Tom to the shop",
        correct=(" and", " then"),
        incorrect=(" in", " of", " to"),
    ),
    Pair(
        "When Anna and Paul took", "When Anna and Sam gave", correct=(" Anna",), incorrect=(" Paul", " Sam")
    ),
)
#: Token count of each pair, a BOS not counted.
LENGTHS = (14, 5, 1, 17, 7, 5)
