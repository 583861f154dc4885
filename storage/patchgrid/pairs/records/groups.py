"""Groups of pairs: those with the same `group`, or else with the same clean prompt."""

from array import array

import numpy as np

from patchgrid.core.types import Pair


class Groups:
    """Takes in pairs one by one, and counts their groups: eight bytes a pair."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._named: bool | None = None

    def add(self, pair: Pair) -> str | None:
        """Add a pair; say what is wrong if some pairs have a group and others none."""
        named = pair.group is not None
        if self._named is None:
            self._named = named
        self._hashes.append(group_hash(pair))
        if named == self._named:
            return None
        if named:
            return "has a 'group', the pairs before it have none: give every pair one, or none"
        return "missing 'group', which the pairs before it have"

    @property
    def named(self) -> bool:
        """Whether the pairs name their groups."""
        return bool(self._named)

    def notes(self) -> tuple[str, ...]:
        """Say what pairs that share a group mean for intervals, where the file does not name the groups."""
        count, pairs = self.count(), len(self._hashes)
        if count == 1 and pairs > 1:
            shared = "are of one group" if self._named else "have the same clean prompt"
            return (f"all {pairs:,} pairs {shared}: there are no intervals for the population",)
        if count is None or self._named:
            return ()
        note = (
            f"{count:,} different clean prompts in {pairs:,} pairs: in intervals, pairs with the same one "
            "count as a group ('group' in the file names others)"
        )
        return (note,)

    def count(self) -> int | None:
        """Return the number of groups; None where each pair is its own."""
        if not self._hashes:
            return None
        count = len(np.unique(np.frombuffer(self._hashes, np.int64)))
        return None if count == len(self._hashes) else count


class GroupNumbers:
    """Numbers groups from 0 in the order of their first pairs."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def of(self, pair: Pair) -> int:
        """Return the number of a pair's group."""
        return self._numbers.setdefault(group_hash(pair), len(self._numbers))


def group_hash(pair: Pair) -> int:
    """Return a hash by which a pair's group is known in this process."""
    return hash(("group", pair.group) if pair.group is not None else ("clean", pair.clean))
