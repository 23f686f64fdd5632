"""The error that a user can mend: one sentence that says what was given, what was expected and what to do."""

from __future__ import annotations

import difflib
import functools
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn


class UserError(ValueError):
    """A mistake in what the user gave; commands print its sentence and end with exit code 2, without a traceback."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Names the nearest known words.

    Args:
        given: The word that is not known.
        known: The words that are.

    Returns:
        A clause such as "did you mean 'optimizer.lr'?", or "known are a, b, c" when nothing is near.
    """
    known = sorted(set(known))
    near = difflib.get_close_matches(given, known, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(f"'{name}'" for name in near) + "?"
    return "known are " + ", ".join(known)


def fail(error: UserError | str) -> NoReturn:
    """Prints one sentence on standard error and ends with exit code 2."""
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(2) from None


def friendly(program: Callable[[], None]) -> Callable[[], None]:
    """Makes a program end with one sentence on standard error and exit code 2 where the user made a mistake."""

    @functools.wraps(program)
    def run() -> None:
        try:
            program()
        except UserError as error:
            fail(error)
        except KeyboardInterrupt:
            print("\nInterrupted.", file=sys.stderr)
            raise SystemExit(130) from None

    return run
