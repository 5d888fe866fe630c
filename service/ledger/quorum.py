"""Whose word counts: logs, witnesses, and which of them together are enough (c2sp.org/tlog-policy).

Pure. The same text file tells the service whom to ask and tells an auditor's tools whom to believe.
Names are opaque octets; they are decoded so that any octet survives a round trip.

Mirrored pair: `encode`/`decode`.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from service.errors import Malformed
from service.ledger.cosignature import MLDSA44, read_vkey
from service.ledger.note import COSIGNATURE, ED25519, Verifies, parse_key

NONE: Final = "none"
MOST_LINES: Final = 1_000
"""Many times what the specification asks for: 32 logs, 32 witnesses, 32 groups."""

_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_NUMBER = re.compile("[1-9][0-9]{0,3}")
_KINDS = {"log": (ED25519, MLDSA44), "witness": (COSIGNATURE, MLDSA44)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A log or a witness: the name the policy uses, its key, and where it is reached, if that is said."""

    name: str
    vkey: str
    key: Verifies
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Members of whom `threshold` must have cosigned."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPolicy:
    """Logs and witnesses that are believed; a `quorum` of None asks for no cosignature."""

    logs: tuple[Party, ...] = ()
    witnesses: tuple[Party, ...] = ()
    groups: tuple[Group, ...] = ()
    quorum: str | None = None

    def satisfied(self, cosigned: Collection[str]) -> bool:
        """Tell whether cosignatures by the witnesses of these names are enough."""
        if self.quorum is None:
            return True
        holds = {party.name: party.name in cosigned for party in self.witnesses}
        for group in self.groups:
            holds[group.name] = sum(holds[member] for member in group.members) >= group.threshold
        return holds[self.quorum]


def decode(text: bytes) -> LogPolicy:
    """Return the policy that a file states; `Malformed` names the line and what is wrong with it."""
    if _FORBIDDEN.search(text):
        raise Malformed("a policy holds a control character; only tabs and line ends are allowed")
    draft = _Draft()
    for number, words in _lines(text):
        try:
            draft.add(words)
        except Malformed as error:
            raise Malformed(f"line {number} of the policy: {error}") from None
    return draft.finish()


def encode(policy: LogPolicy) -> bytes:
    """Return the policy as a file that every program for this format can read."""
    lines = [["log", party.vkey, party.url] for party in policy.logs]
    lines += [["witness", party.name, party.vkey, party.url] for party in policy.witnesses]
    lines += [["group", group.name, str(group.threshold), *group.members] for group in policy.groups]
    lines.append(["quorum", policy.quorum or NONE])
    text = "".join(" ".join(word for word in line if word) + "\n" for line in lines)
    return text.encode("utf-8", "surrogateescape")


def _lines(text: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that say something, by number and split into words."""
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    if len(lines) > MOST_LINES:
        raise Malformed(f"a policy has at most {MOST_LINES} lines")
    for number, line in enumerate(lines, start=1):
        words = [word for word in re.split("[ \t]+", line) if word]
        if words and not words[0].startswith("#"):
            yield number, words


@dataclass(slots=True)
class _Draft:
    """A policy while it is read, line by line."""

    logs: list[Party] = field(default_factory=list)
    witnesses: list[Party] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    quorum: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def add(self, words: list[str]) -> None:
        match words:
            case ["log", vkey, *url] if len(url) <= 1:
                self._add(self.logs, _party("log", parse_key(vkey)[0], vkey, url))
            case ["witness", name, vkey, *url] if len(url) <= 1:
                self._require_new(name)
                self._add(self.witnesses, _party("witness", name, vkey, url))
            case ["group", name, threshold, first, *others]:
                self._require_new(name)
                self.groups.append(self._group(name, threshold, [first, *others]))
            case ["quorum", name]:
                self._set_quorum(name)
            case _:
                raise Malformed(f"`{words[0]}` is not written like this; see c2sp.org/tlog-policy")

    def finish(self) -> LogPolicy:
        if not self.quorum:
            raise Malformed("a policy needs one quorum line; `quorum none` asks for no cosignature")
        return LogPolicy(
            logs=tuple(self.logs),
            witnesses=tuple(self.witnesses),
            groups=tuple(self.groups),
            quorum=None if self.quorum[0] == NONE else self.quorum[0],
        )

    def _add(self, parties: list[Party], party: Party) -> None:
        if _public(party) in map(_public, parties):
            raise Malformed(f"the key of {party.name} stands here twice; each may have one name only")
        parties.append(party)

    def _group(self, name: str, threshold: str, members: list[str]) -> Group:
        for member in members:
            self._require_defined(member)
            if member in self.taken or members.count(member) > 1:
                raise Malformed(f"{member} is a member twice; each may count in one group only")
        self.taken.update(members)
        numbers = {"all": len(members), "any": 1}
        needed = numbers.get(threshold) or (int(threshold) if _NUMBER.fullmatch(threshold) else 0)
        if not 1 <= needed <= len(members):
            raise Malformed(
                f"a group of {len(members)} needs `all`, `any` or a number from 1 to {len(members)}"
            )
        return Group(name=name, threshold=needed, members=tuple(members))

    def _set_quorum(self, name: str) -> None:
        if self.quorum:
            raise Malformed("a policy has exactly one quorum line")
        if name != NONE:
            self._require_defined(name)
        self.quorum.append(name)

    def _names(self) -> set[str]:
        return {party.name for party in self.witnesses} | {group.name for group in self.groups}

    def _require_new(self, name: str) -> None:
        if name == NONE or name in self._names():
            raise Malformed(f"the name {name} is taken; give each witness and group a name of its own")

    def _require_defined(self, name: str) -> None:
        if name not in self._names():
            raise Malformed(f"{name} is not defined above; define witnesses and groups before using them")


def _party(kind: str, name: str, vkey: str, url: list[str]) -> Party:
    if parse_key(vkey)[2] not in _KINDS[kind]:
        raise Malformed(
            f"a {kind} signs with a key of type {' or '.join(map(str, _KINDS[kind]))}, not this one"
        )
    return Party(name=name, vkey=vkey, key=read_vkey(vkey), url=url[0] if url else None)


def _public(party: Party) -> bytes:
    return parse_key(party.vkey)[3]
