"""What a check finds, and how checks are run so that a failing one hides no other."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from service.errors import ServiceError

T = TypeVar("T")
TROUBLE = (ServiceError, SQLAlchemyError, OSError)
"""What can go wrong outside of this program while somebody looks."""


class Outcome(StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105  # no password
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was seen, what to do about it, and where that is done: a page of a product, a file, a setting."""

    check: str
    outcome: Outcome
    seen: str
    todo: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What one check says; the finding adds the check's name."""

    outcome: Outcome
    seen: str
    todo: str = ""
    where: str = ""


def fine(seen: str) -> Look:
    """Return that all is well."""
    return Look(Outcome.PASS, seen)


def warn(seen: str, todo: str, where: str = "") -> Look:
    """Return that the service works, but not as well or as long as it could."""
    return Look(Outcome.WARN, seen, todo, where)


def fail(seen: str, todo: str, where: str = "") -> Look:
    """Return that something does not work."""
    return Look(Outcome.FAIL, seen, todo, where)


class Blocked(Exception):  # named by what happened
    """Something that a check needs does not open; another check says why."""

    def __init__(self, check: str) -> None:
        super().__init__(check)
        self.check = check


class Once(Generic[T]):
    """Something that is opened at most once; `open` is for the check about it, `need` for all others."""

    def __init__(self, check: str, make: Callable[[], T]) -> None:
        self._check = check
        self._make = make
        self._made: list[T] = []
        self._trouble: Exception | None = None

    @property
    def made(self) -> T | None:
        """Return it if it was opened."""
        return self._made[0] if self._made else None

    def open(self) -> T:
        """Return it, or raise why it does not open."""
        if self._trouble is not None:
            raise self._trouble
        if not self._made:
            try:
                self._made.append(self._make())
            except (*TROUBLE, Blocked) as error:
                self._trouble = error
                raise
        return self._made[0]

    def need(self) -> T:
        """Return it, or raise `Blocked`."""
        try:
            return self.open()
        except TROUBLE:
            raise Blocked(self._check) from None


def failed(error: Exception, where: str) -> Look:
    """Return what an error of ours says: what happened, and behind the last semicolon what to do."""
    seen, _, todo = str(error).rpartition("; ")
    return fail(seen or todo, todo if seen else "see the message", where)


def run(name: str, check: Callable[[], Iterable[Look]], *, where: str = "") -> Iterator[Finding]:
    """Yield what a check finds; what it raises is one more finding, with `where` to look."""
    try:
        for look in check():
            yield _named(name, look)
    except Blocked as blocked:
        seen, todo = f"not looked at: {blocked.check} failed", f"put {blocked.check} right, then look again"
        yield _named(name, warn(seen, todo, where))
    except ServiceError as error:
        yield _named(name, failed(error, where))
    except (SQLAlchemyError, OSError) as error:
        # The text of either may name a person or a secret; the kind is enough to look it up.
        seen = f"{type(error).__name__}" + (f" ({error.strerror})" if isinstance(error, OSError) else "")
        yield _named(name, fail(seen, "see the log of the service that refuses", where))


def _named(name: str, look: Look) -> Finding:
    return Finding(check=name, outcome=look.outcome, seen=look.seen, todo=look.todo, where=look.where)
