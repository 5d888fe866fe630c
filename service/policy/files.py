"""Read the files of a policy set, and name the file and the line of whatever is wrong with them."""

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from service.errors import Misconfigured
from service.policy.faults import faults
from service.policy.law import Deadline, Jurisdiction
from service.policy.lines import Path as Steps
from service.policy.lines import line_of, path_in

T = TypeVar("T")
Files = Mapping[str, bytes]
"""The files of a set, by name relative to its folder."""

LAWS = "jurisdictions/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where; line 0 is about the file as a whole."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return self.within("policies")

    def within(self, folder: Path | str) -> str:
        """Return the problem with its file's path, of a set that lies in this folder."""
        where = f":{self.line}:" if self.line else ""
        return f"{Path(folder, self.file)}{where} {self.message}"


class UnusableError(Exception):
    """A file cannot be used; the service shows it as `Misconfigured`, the check beside all others."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read(folder: Path) -> Files:
    """Return the files of a set; raises `Misconfigured` where there is no such folder."""
    if not folder.is_dir():
        raise Misconfigured(f"there is no folder {folder}; name one with purposes.toml and jurisdictions/")
    files = sorted([*folder.glob("*.toml"), *folder.glob("jurisdictions/*.toml")])
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def digest(files: Files) -> bytes:
    """Return the SHA-256 over every file's name and bytes."""
    lines = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).digest()


def decode(files: Files, name: str, kind: type[T]) -> T:
    """Return what a file says; raises `UnusableError` with the first thing that is wrong with it."""
    told = _read(files, name)
    try:
        return msgspec.convert(told, kind, builtin_types=(datetime, date))
    except msgspec.ValidationError as error:
        path = path_in(str(error))
        raise UnusableError(problem(files, name, path, _words(told, path, str(error)))) from None


def problem(files: Files, name: str, path: Steps, message: str) -> Problem:
    """Return a problem with the line on which `path` stands in a file."""
    return Problem(file=name, line=line_of(files[name].decode(errors="replace"), path), message=message)


def problems(files: Files, name: str, kind: type[T]) -> Iterator[Problem]:
    """Yield everything that is wrong with a file by itself; a file that is no TOML has one thing wrong."""
    try:
        told = _read(files, name)
    except UnusableError as error:
        yield error.problem
        return
    for path, message in faults(told, kind):
        where = (*path, *path_in(message))
        yield problem(files, name, where, _words(told, path, message))


def _read(files: Files, name: str) -> dict[str, Any]:
    """Return the tables of a file; raises `UnusableError` where there is none, or it is no TOML."""
    if name not in files:
        message = "is missing; start from the one that ships with the service"
        raise UnusableError(Problem(file=name, line=0, message=message))
    try:
        text = files[name].decode()
    except UnicodeDecodeError as error:
        line = files[name][: error.start].count(b"\n") + 1
        raise UnusableError(Problem(file=name, line=line, message="this is not UTF-8")) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnusableError(
            Problem(file=name, line=_syntax_line(text, str(error)), message=str(error))
        ) from None


def _syntax_line(text: str, message: str) -> int:
    words = message.replace(",", "").replace(")", "").split()
    if "line" in words:
        return int(words[words.index("line") + 1])
    return text.rstrip("\n").count("\n") + 1


def _words(told: Mapping[str, Any], path: Steps, message: str) -> str:
    """Return a message with the id of the rule in which it stands."""
    match path:
        case ("rules", int(number), *_):
            return f"{_id(told['rules'][number])}{message}"
        case _:
            return message


def _id(rule: object) -> str:
    told = rule.get("id") if isinstance(rule, dict) else None
    return f"rule {told}: " if isinstance(told, str) else ""


def law_files(files: Files) -> list[str]:
    """Return the names of the files of jurisdictions."""
    return [name for name in files if name.startswith(LAWS)]


def read_law(files: Files, name: str) -> Jurisdiction:
    """Return the jurisdiction of a file, with its deadlines beside its rules."""
    found = decode(files, name, Jurisdiction)
    deadlines = tuple(rule for rule in found.rules if isinstance(rule, Deadline))
    return msgspec.structs.replace(found, deadlines=(*found.deadlines, *deadlines))
