"""The words the demo model knows."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


#: Each is one token in GPT-2's vocabulary too, with its leading space.
NAMES = _words(
    """
    Mary John Alice Ahmed Omar Hassan Maria Carlos Juan Diego Pedro Ana Rosa Elena Lucia Wei
    Chen Ming Mei Akira Hiro Sakura Raj Rahul Tara Maya Ivan Boris Natasha Igor Hans Klaus
    Anna Erik Sven Ibrahim Jamal Malik Marcus Elijah David Sarah Rachel Noah Naomi Emma Sophie Claire
    Pierre Marie Luc Marco Stefan Pavel Viktor Oscar Kate Laura James Robert Nina Yuri Kai Dakota
    """
)

#: Those that are one token in SmolLM2's vocabulary as well.
SMOLLM2_NAMES = tuple(
    name
    for name in NAMES
    if name
    not in _words("Elena Lucia Akira Sakura Rahul Natasha Igor Klaus Sven Jamal Malik Pavel Viktor Yuri")
)

PLACES = _words(
    """
    store park school office garden library market museum station restaurant hospital beach
    harbour theatre bakery farm castle stadium bridge village temple cinema workshop lake
    """
)

OBJECTS = _words(
    """
    drink book ring ball basket letter ticket map key lamp cup coat
    flower necklace camera bottle pencil hat guitar sandwich blanket kite clock compass
    """
)

#: `{a}` and `{b}` are the two people, in either order.
OPENINGS = (
    "When {a} and {b} went to the {place},",
    "Then {a} and {b} went to the {place}.",
    "After {a} and {b} had lunch at the {place},",
    "While {a} and {b} were working at the {place},",
    "Yesterday {a} and {b} met at the {place}, and",
    "Once {a} and {b} arrived at the {place},",
    "The teacher saw {a} and {b} at the {place}, where",
    "Then {a} and {b} had a long argument at the {place}, and afterwards",
    "Last week {a} and {b} spent a whole day at the {place}, and",
    "As soon as {a} and {b} left the {place},",
    "In the morning {a} and {b} sat down together at the {place}.",
    "On the way to the {place} {a} and {b} stopped, and",
    "Before {a} and {b} walked home from the {place},",
    "It was raining when {a} and {b} reached the {place}, so",
)

#: What the giver does; the receiver's name follows.
ACTIONS = (
    "gave a {object} to",
    "handed the {object} to",
    "decided to give a {object} to",
    "passed a {object} over to",
    "wanted to show the {object} to",
    "bought a {object} for",
    "offered to lend a {object} to",
    "quietly threw the {object} back to",
    "brought a {object} with a note for",
    "sold an old {object} to",
)

NOUNS = _words(
    """
    war siege trip voyage reign contract plan project drought famine festival expedition
    alliance truce strike rebellion conflict survey campaign exhibition tour friendship partnership trial
    debate restoration migration harvest regime treaty journey investigation flood boycott occupation quarrel
    """
)

#: `{start}` is a four-digit year, `{century}` its first two digits; the two digits of a later year follow.
YEAR_TEMPLATES = (
    "The {noun} lasted from the year {start} to the year {century}",
    "The {noun} went on from the year {start} to the year {century}",
    "The {noun} began in the year {start} and ended in the year {century}",
    "The long {noun} lasted from {start} until {century}",
    "Records say that the {noun} lasted from the year {start} to the year {century}",
    "In this book the {noun} runs from {start} to {century}",
    "The {noun} that started in {start} was over by the year {century}",
    "Nobody thought that the {noun} of the year {start} would go on to the year {century}",
)

CENTURIES = tuple(range(11, 19))
