"""Addresses that were erased and are kept out: what a token stops, and what only its owner lifts.

A token is a keyed hash of the address under a key that outlives the directory's. It names no person and
no entry, and comes from an erasure or from a suppression list that was taken in. It never expires and is
never taken away: a purpose is open again only while the person's own live consent says so (tlog.md 3.4;
ICO, "respect people's preferences").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, update

from service.consent import GRANTS, Category, Provenance, Standing, State, SubjectId
from service.db import chunks, subject, suppression
from service.errors import KeptOut
from service.intake.claim import Claim

OWN = GRANTS | {Category.REQUESTED, Category.REFUSED, Category.WITHDRAWN, Category.COMPLAINT}
"""What a person does themselves; anything else about somebody erased is no reason to know them again."""
WIDENS = GRANTS | {Category.REQUESTED}
KEEPS_OUT = "suppressed: erased before, and kept out until they consent again themselves"
RESTORED = "restored:"
"""How the reason of a token begins that came from a suppression list; the class of the stop follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One address that is kept out: since when, why, and how often it stood in the directory."""

    reason: str
    since: datetime
    versions: int


def kept_out(tx: Connection, indexes: Sequence[bytes]) -> dict[bytes, Token]:
    """Return the tokens of these addresses, by the keyed hash under which addresses are looked up."""
    found: dict[bytes, Token] = {}
    for part in chunks(indexes):
        rows = tx.execute(
            select(
                suppression.c.address_index,
                suppression.c.reason,
                suppression.c.since,
                suppression.c.versions,
            ).where(suppression.c.address_index.in_(part))
        )
        found.update(
            (index, Token(reason=reason, since=since, versions=versions))
            for index, reason, since, versions in rows
        )
    return found


def token_of(tx: Connection, sub: SubjectId) -> Token | None:
    """Return the token of a person who was erased and came back, None for anybody else."""
    return tokens_of(tx, [sub]).get(sub)


def tokens_of(tx: Connection, subs: Sequence[SubjectId]) -> dict[SubjectId, Token]:
    """Return the tokens of those of these people who were erased and came back."""
    indexes: dict[bytes, SubjectId] = {}
    for part in chunks(subs):
        rows = tx.execute(select(subject.c.address_index, subject.c.sub).where(subject.c.sub.in_(part)))
        indexes.update((index, SubjectId(sub)) for index, sub in rows)
    return {indexes[index]: token for index, token in kept_out(tx, list(indexes)).items()}


def admit(claim: Claim, token: Token | None, *, returned: bool) -> Claim:
    """Return what of a claim may be recorded about an address; `returned` if its owner came back.

    Raises `KeptOut` for whatever would bring an erased person back without themselves: an import, an
    observation, or a live event from before the erasure that arrives late. An enforcement is recorded
    about nobody, without the address and without the record's number.
    """
    if token is None:
        return claim
    if not returned and claim.category is Category.ENFORCEMENT:
        target = str(claim.evidence.get("target", "")).partition("/")[0]
        return replace(claim, address=None, evidence={**claim.evidence, "target": target})
    by_themselves = (
        claim.category in OWN and claim.provenance is Provenance.LIVE and claim.happened_at > token.since
    )
    if by_themselves or (returned and claim.category not in WIDENS):
        return claim
    raise KeptOut(
        "this address was erased and is kept out; only a live consent of the person themselves, with its "
        "evidence, brings it back, so leave it out of imports and lists"
    )


def keep_out(tx: Connection, index: bytes, token: Token, *, next_versions: int = 0) -> None:
    """Keep an address out from now on; what was known of an earlier erasure is replaced."""
    row = {
        "reason": token.reason,
        "since": token.since,
        "versions": token.versions,
        "next_versions": next_versions,
    }
    mine = suppression.c.address_index == index
    if not tx.execute(update(suppression).where(mine).values(**row)).rowcount:
        tx.execute(insert(suppression).values(address_index=index, **row))


def count_versions(tx: Connection, versions: Mapping[bytes, int]) -> None:
    """Note how often these addresses stand in the directory; those that are not kept out do not count."""
    if versions:
        tx.execute(
            update(suppression)
            .where(suppression.c.address_index == bindparam("mine"))
            .values(versions=bindparam("counted")),
            [{"mine": index, "counted": version} for index, version in versions.items()],
        )


def suppressed(found: Standing, token: Token | None) -> Standing:
    """Return a standing as the token leaves it: only the person's own consent opens a purpose again."""
    if token is None or found.state is State.PERMITTED or found.suppressed is not None:
        return found
    return replace(found, suppressed=_why(token))


def _why(token: Token) -> str:
    """Return why a token keeps somebody out; one of a list says which stop the list told of."""
    told = token.reason.removeprefix(RESTORED)
    if told in (token.reason, "erased"):
        return KEEPS_OUT
    return f"suppressed: a suppression list tells of {told}; kept out until they consent again themselves"
