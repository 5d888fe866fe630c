"""`policies/log.toml`: which witnesses and time-stamping authorities this log has, and where they are."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as Folder

import msgspec

from service.errors import Malformed, Misconfigured
from service.ledger.quorum import LogPolicy, Party, decode
from service.ledger.timestamp import Trust, read_trust
from service.policy import files as policies
from service.policy.files import Files, Problem, problem
from service.policy.lines import Path, line_of

FILE = "log.toml"
_URL = re.compile(r"https?://[^\s?#]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A time-stamping authority: `url` is asked by POST, `chain` are its certificates as PEM."""

    name: str
    url: str
    chain: bytes
    trust: Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """Who attests the log; `monitors` says where a witness shows what it cosigned, if not at its URL."""

    policy: LogPolicy = field(default_factory=LogPolicy)
    monitors: tuple[tuple[str, str], ...] = ()
    authorities: tuple[Authority, ...] = ()

    @property
    def witnesses(self) -> tuple[Party, ...]:
        """Return the witnesses that can be asked."""
        return tuple(party for party in self.policy.witnesses if party.url)

    def monitor(self, witness: Party) -> str:
        """Return the prefix under which a witness shows what it cosigned."""
        return dict(self.monitors).get(witness.name, witness.url or "")


class _Authority(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    url: str
    certificates: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    policy: str = "quorum none\n"
    monitors: dict[str, str] = {}
    authority: tuple[_Authority, ...] = ()


def load(folder: Folder) -> Attestation:
    """Return what `log.toml` in the folder of policies names; nobody if there is no such file.

    Raises `Misconfigured` that says which line or file is wrong.
    """
    path = folder / FILE
    found, wrong = _read({FILE: path.read_bytes()} if path.exists() else {}, folder)
    if wrong:
        raise Misconfigured(f"{wrong[0]}; the file cannot be used")
    return found


def problems(files: Files, folder: Folder) -> list[Problem]:
    """Return everything that is wrong with `log.toml` among these files of a folder, with its lines."""
    return _read(files, folder)[1]


def _read(files: Files, folder: Folder) -> tuple[Attestation, list[Problem]]:
    """Return whom the file names, as far as it can be read, and what is wrong with it."""
    if FILE not in files:
        return Attestation(), []
    if wrong := list(policies.problems(files, FILE, _File)):
        return Attestation(), wrong
    file, policy, authorities = policies.decode(files, FILE, _File), LogPolicy(), []
    try:
        policy = decode(file.policy.encode())
    except Malformed as error:
        line = _policy_line(file, files[FILE].decode(), str(error))
        wrong.append(Problem(file=FILE, line=line, message=str(error)))
    for number, one in enumerate(file.authority):
        try:
            authorities.append(_authority(folder, one))
        except (Malformed, OSError) as error:
            wrong.append(problem(files, FILE, ("authority", number, "certificates"), str(error)))
    monitors = tuple(file.monitors.items())
    found = Attestation(policy=policy, monitors=monitors, authorities=tuple(authorities))
    if not wrong:
        wrong = [problem(files, FILE, path, message) for path, message in _contradictions(found)]
    return found, wrong


def _authority(folder: Folder, one: _Authority) -> Authority:
    chain = (folder / one.certificates).read_bytes()
    return Authority(name=one.name, url=one.url, chain=chain, trust=read_trust(chain))


def _contradictions(found: Attestation) -> Iterator[tuple[Path, str]]:
    """Yield where in the file something does not fit the rest of it, and why."""
    urls: list[tuple[Path, str]] = [(("policy",), witness.url or "") for witness in found.witnesses]
    urls += [(("monitors", name), url) for name, url in found.monitors]
    urls += [(("authority", number, "url"), one.url) for number, one in enumerate(found.authorities)]
    yield from (
        (path, f"{url!r} is not an http or https address without query")
        for path, url in urls
        if not _URL.fullmatch(url)
    )
    names = [authority.name for authority in found.authorities]
    for number, name in enumerate(names):
        if name in names[:number]:
            yield ("authority", number, "name"), "two authorities have the same name"
    for name in sorted(dict(found.monitors).keys() - {witness.name for witness in found.policy.witnesses}):
        yield ("monitors", name), f"monitors names {name}, which the policy does not define"


def _policy_line(file: _File, text: str, message: str) -> int:
    """Return the line of `log.toml` of which `message`, about the policy within it, speaks."""
    first = line_of(text, ("policy",))
    told = re.match(r"line (\d+) of the policy", message)
    lines = text.splitlines()
    within = first < len(lines) and file.policy.splitlines()[:1] == [lines[first]]  # opened by quotes alone
    return first + int(told[1]) if told and within else first
