"""What a rule asks of the evidence of a consent: what must have come with it, and what makes it none. Pure.

Only names of evidence are looked at, never values. Some names stand for what a history shows: that somebody
had opted out before, and how many steps it took them to come back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from service.consent.rules import Proof, months_after

PROVING: Final = frozenset(
    {
        "notice_sha256",
        "notice_version",
        "language",
        "privacy_policy_version",
        "control",
        "page_url",
        "collection_method",
        "identity_check",
        "source_system",
        "file_sha256",
        "ip",
        "user_agent",
    }
)
"""Names of evidence that a rule may demand."""
OWN_INITIATIVE: Final = "own_initiative"
"""The person came of their own accord: nobody asked them to come back."""
SPOILING: Final = frozenset({"prechecked", "bundled", "excess_data", "opt_out_signal"})
"""Names of evidence that a rule may forbid, as the source tells them."""
ONE_STEP: Final = "one_step_after_optout"
"""What the history tells: the person had opted out, and did not both ask and then confirm."""
ASKED_BACK: Final = "asked_back_after_optout"
"""What the history tells: the person had opted out, and nothing says that they came of their own accord."""
HISTORY: Final = frozenset({ONE_STEP, ASKED_BACK})
"""Names that a rule may forbid and no source tells."""
KEPT: Final = PROVING | SPOILING | {OWN_INITIATIVE}
"""Names that are kept with a consent, where they came with it."""
Objections: TypeAlias = list[tuple[Proof, str]]
"""Rules that a consent does not meet, those not in force too, each with why."""
_SAID: Final = {ASKED_BACK: "an opt-out before it, and nothing that says they came unasked (own_initiative)"}
_NOTHING: Final = frozenset({"", "none"})
"""Words by which a source tells that it has nothing to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A consent as rules of evidence see it, with the request that it confirms, where it confirms one.

    `refused_at` is when the person had opted out, where that still held; `at` is when they consented,
    `asked_at` when they were asked to.
    """

    brought: frozenset[str]
    at: datetime
    asked_at: datetime
    implied: bool = False
    refused_at: datetime | None = None


def brought(evidence: Mapping[str, object]) -> frozenset[str]:
    """Return the names of evidence that rules may look at, of what came with a consent."""
    return frozenset(name for name in KEPT if evidence.get(name) and evidence[name] not in _NOTHING)


def after_optout(names: frozenset[str], *, steps: int) -> frozenset[str]:
    """Return the names with which somebody who had opted out comes back, in one step or in two."""
    told = {ONE_STEP} if steps == 1 else set()
    return names | (told if OWN_INITIATIVE in names else told | {ASKED_BACK})


def objections(proofs: Iterable[Proof], shown: Shown) -> Objections:
    """Return the rules that a consent does not meet, those not in force too, each with why."""
    return [(proof, why) for proof in proofs if (why := _objection(proof, shown)) is not None]


def _objection(proof: Proof, shown: Shown) -> str | None:
    if not proof.was_law(shown.at):
        return None
    if spoilt := sorted(proof.forbids & shown.brought):
        return "it came with " + _words(spoilt)
    if missing := [] if shown.implied else sorted(proof.demands - shown.brought):
        return "it came without " + _words(missing)
    if proof.wait_months is None or shown.refused_at is None or OWN_INITIATIVE in shown.brought:
        return None
    until = months_after(shown.refused_at, proof.wait_months)
    if shown.asked_at >= until:
        return None
    return f"they had refused, and are not asked again before {until:%Y-%m-%d}"


def _words(names: Iterable[str]) -> str:
    return ", ".join(_SAID.get(name, name.replace("_", " ")) for name in names)
