"""From the rules of a place to the parameters of the fold, and to what a grant must bring along. Pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time

from service.consent import Clock, Proof, Rules
from service.policy.law import AnyRule, Evidence, Expiry, Jurisdiction
from service.policy.places import UNKNOWN
from service.policy.shapes import Enforcement, Purpose


def fold_rules(
    purpose: Purpose,
    enforcement: Enforcement,
    chain: tuple[Jurisdiction, ...],
    everywhere: Iterable[Jurisdiction],
    *,
    policy: str = "",
) -> Rules:
    """Return the parameters of the fold for one purpose in one place; an empty `chain` is an unknown one.

    Where the place is unknown nothing implied counts, and what any rule in force demands or ends, holds.
    """
    known = bool(chain)
    rules = [rule for one in (chain or everywhere) for rule in one.rules if rule.status != "retired"]
    asks = [rule for rule in rules if isinstance(rule, Evidence) and rule.double_opt_in]
    forced = next((rule.id for rule in asks if rule.in_force), None)
    warned = next((rule.id for rule in asks if not rule.in_force), None)
    ends = [rule for rule in rules if isinstance(rule, Expiry) and rule.basis == "express" and rule.months]
    told = {} if forced is None or purpose.double_opt_in else {"double_opt_in_rule": forced}
    return Rules(
        weakest_grade=enforcement.weakest_grade,
        double_opt_in=purpose.double_opt_in or forced is not None,
        double_opt_in_warning=warned if known and forced is None and not purpose.double_opt_in else None,
        soft_bounce_limit=enforcement.soft_bounce_limit,
        soft_bounce_days=enforcement.soft_bounce_days,
        implied=_implied(chain),
        express=tuple(clock_of(rule) for rule in ends if known or rule.in_force),
        proofs=(*_own(enforcement), *_proofs(rules, known=known)),
        jurisdiction=chain[0].code if known else UNKNOWN,
        policy=policy,
        **told,
    )


def demanded(rules: Iterable[AnyRule], day: date | None) -> Mapping[str, str]:
    """Return names of evidence that rules in force demand, each with the rule; None is any day."""
    asks = (rule for rule in rules if isinstance(rule, Evidence) and rule.in_force)
    return {name: rule.id for rule in asks if day is None or rule.effective(day) for name in rule.demands}


def served(codes: Iterable[str], laws: Mapping[str, Jurisdiction]) -> Iterable[Jurisdiction]:
    """Return the laws of these places and of what they lie within, each once; no codes are all places."""
    found: dict[str, Jurisdiction] = {}
    for first in codes or laws:
        code = first
        while code in laws and code not in found:
            found[code] = laws[code]
            code = laws[code].within
    return found.values()


def proof_of(rule: Evidence) -> Proof:
    """Return what a rule asks of evidence; it counts while the rule is in force."""
    return Proof(
        rule=rule.id,
        demands=frozenset(rule.demands),
        forbids=frozenset(rule.forbids),
        wait_months=rule.wait_months,
        counts=rule.in_force,
        since=_midnight(rule.effective_from),
        until=_midnight(rule.effective_until),
    )


def _own(enforcement: Enforcement) -> Iterable[Proof]:
    if enforcement.forbidden_evidence:
        forbids = frozenset(enforcement.forbidden_evidence)
        yield Proof(rule="enforcement.forbidden_evidence", forbids=forbids)


def _proofs(rules: Iterable[AnyRule], *, known: bool) -> Iterable[Proof]:
    for rule in rules:
        if isinstance(rule, Evidence) and (known or rule.in_force):
            proof = proof_of(rule)
            if proof.demands or proof.forbids or proof.wait_months is not None:
                yield proof


def _implied(chain: tuple[Jurisdiction, ...]) -> dict[str, tuple[Clock, ...]]:
    """Return clocks by fact: those of the nearest law that speaks of the fact at all."""
    found: dict[str, tuple[Clock, ...]] = {}
    for one in chain:
        here: dict[str, tuple[Clock, ...]] = {}
        for rule in one.rules:
            if isinstance(rule, Expiry) and rule.basis == "implied" and rule.status != "retired":
                for fact in rule.facts:
                    here[fact] = (*here.get(fact, ()), clock_of(rule))
        found = here | found
    return found


def clock_of(rule: Expiry) -> Clock:
    """Return the clock that a rule sets; it counts while the rule is in force."""
    return Clock(
        rule=rule.id,
        months=rule.months,
        counts=rule.in_force,
        conditions=frozenset(rule.conditions),
        weakest_grade=rule.weakest_grade,
        since=_midnight(rule.effective_from),
        until=_midnight(rule.effective_until),
    )


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), tzinfo=UTC)
