"""`policies/log.toml`: which witnesses and time-stamping authorities this log has, and where they are."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from service.errors import Malformed, Misconfigured
from service.ledger.quorum import LogPolicy, Party, decode
from service.ledger.timestamp import Trust, read_trust

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


def load(folder: Path) -> Attestation:
    """Return what `log.toml` in the folder of policies names; nobody if there is no such file.

    Raises `Misconfigured` that says which line or file is wrong.
    """
    path = folder / FILE
    if not path.exists():
        return Attestation()
    try:
        file = msgspec.toml.decode(path.read_bytes(), type=_File)
        found = Attestation(
            policy=decode(file.policy.encode()),
            monitors=tuple(file.monitors.items()),
            authorities=tuple(_authority(folder, one) for one in file.authority),
        )
        _check(found)
    except (msgspec.DecodeError, UnicodeDecodeError, Malformed, OSError) as error:
        raise Misconfigured(f"policies/{FILE} cannot be used: {error}") from None
    return found


def _authority(folder: Path, one: _Authority) -> Authority:
    chain = (folder / one.certificates).read_bytes()
    return Authority(name=one.name, url=one.url, chain=chain, trust=read_trust(chain))


def _check(found: Attestation) -> None:
    urls = [witness.url or "" for witness in found.witnesses]
    urls += [url for _, url in found.monitors] + [authority.url for authority in found.authorities]
    for url in urls:
        if not _URL.fullmatch(url):
            raise Malformed(f"{url!r} is not an http or https address without query")
    names = [authority.name for authority in found.authorities]
    if len(set(names)) != len(names):
        raise Malformed("two authorities have the same name")
    if stray := dict(found.monitors).keys() - {witness.name for witness in found.policy.witnesses}:
        raise Malformed(f"monitors names {', '.join(sorted(stray))}, which the policy does not define")
