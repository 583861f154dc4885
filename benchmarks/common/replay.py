"""An engine that notes what it is asked, so that the same can be asked of it alone."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any


class Recorder:
    """Stands in for an engine: whatever method is called is noted and done.

    A function given to a method is the caller's own work: when the question is asked again, what it returned
    is given back without running it. Those named `on_...` only tell of progress and are left out.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._asked: list[Callable[[], object]] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            answers: dict[int | str, list[Any]] = {}
            given = {
                key: _kept(value, answers, key) for key, value in chain(enumerate(args), options.items())
            }
            self._asked.append(lambda: _ask(found, args, options, answers))
            return found(*_positional(given, args), **_named(given, options))

        return call

    def __len__(self) -> int:
        return len(self._asked)

    def ask_again(self, last: int | None = None) -> None:
        """Ask everything that was asked, in order, or only so many of the last."""
        for each in self._asked[-last if last else 0 :]:
            each()


def _ask(found: Callable[..., Any], args: Any, options: Mapping[str, Any], answers: Mapping[Any, Any]) -> Any:
    given = {
        key: _again(answers[key]) if key in answers else value
        for key, value in chain(enumerate(args), options.items())
    }
    alone = {key: value for key, value in options.items() if not key.startswith("on_")}
    return found(*_positional(given, args), **_named(given, alone))


def _kept(value: Any, answers: dict[int | str, list[Any]], key: int | str) -> Any:
    """Return a function that records its results; other values as they are."""
    if not callable(value):
        return value
    answers[key] = []

    def noted(*args: Any, **options: Any) -> Any:
        answer = value(*args, **options)
        answers[key].append(answer)
        return answer

    return noted


def _again(answers: list[Any]) -> Callable[..., Any]:
    """Return a function that returns the recorded results in order."""
    left = iter(answers)
    return lambda *_args, **_options: next(left)


def _positional(given: Mapping[Any, Any], args: Any) -> list[Any]:
    return [given[place] for place in range(len(args))]


def _named(given: Mapping[Any, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in options}
