"""What a canary of each state shows in both products, and by which writes it comes to show it.

Every state of standing, and every way of leaving, has one, with a record in every mapped module of CRM. The
writes are those that everybody's consent goes through, so that each of them is tried in each run.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from service.reconciler.breakers import CRM
from service.reconciler.context import Context
from service.reconciler.enforcement import CAMPAIGNS
from service.reconciler.port import Member, Result


class Step(StrEnum):
    """One write to Campaigns; the value names nothing outside."""

    GRANT = "grant"
    REFUSE = "refuse"
    JOIN = "join"
    LEAVE = "leave"
    STOP = "stop"
    KEEP_OUT = "keep out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nature:
    """How one state looks: Email_Opt_Out, the status on the lists, the permission that the segments show.

    `status` None: not active on any list. `permission` None: in neither segment; `any_permission` where
    Campaigns may show anything but granted. `made` brings it there, `driven` is written again by each run.
    """

    opted_out: bool
    status: Member | None = None
    permission: str | None = None
    any_permission: bool = False
    made: tuple[Step, ...] = ()
    driven: tuple[Step, ...] = ()


NATURES: Mapping[str, Nature] = {
    "granted": Nature(
        opted_out=False,
        status=Member.ACTIVE,
        permission="granted",
        made=(Step.GRANT,),
        driven=(Step.GRANT,),
    ),
    "refused": Nature(
        opted_out=True,
        status=Member.ACTIVE,
        permission="refused",
        made=(Step.REFUSE,),
        driven=(Step.REFUSE,),
    ),
    "unsubscribed": Nature(
        opted_out=True, any_permission=True, made=(Step.REFUSE, Step.LEAVE), driven=(Step.LEAVE,)
    ),
    "pending": Nature(opted_out=False, status=Member.ACTIVE, made=(Step.JOIN,), driven=(Step.JOIN,)),
    "expired": Nature(
        opted_out=True,
        any_permission=True,
        made=(Step.GRANT, Step.REFUSE, Step.STOP),
        driven=(Step.STOP,),
    ),
    "bounced": Nature(opted_out=True, status=Member.BOUNCED, any_permission=True, made=(Step.REFUSE,)),
    "complained": Nature(
        opted_out=True, any_permission=True, made=(Step.REFUSE, Step.STOP), driven=(Step.STOP,)
    ),
    "suppressed": Nature(opted_out=True, any_permission=True, made=(Step.KEEP_OUT,), driven=(Step.KEEP_OUT,)),
    "unknown": Nature(opted_out=False),
}
"""Pending: on the list, and nobody knows a permission. Expired: granted once, then stopped as everybody is.

Complained: no API makes a complaint, so it is stopped as one who complained is; suppressed: kept out without
ever having been on a list; unknown: a record of CRM alone.
"""
STATES = tuple(NATURES)
OPTED_OUT = {state: nature.opted_out for state, nature in NATURES.items()}
"""What Email_Opt_Out says of each."""
_IN = " in "

_ENDPOINTS = {
    Step.GRANT: "json/listsubscribe",
    Step.REFUSE: "json/listsubscribe",
    Step.JOIN: "json/listsubscribe",
    Step.LEAVE: "json/listunsubscribe",
    Step.STOP: "json/listunsubscribe",
}


def named(state: str, module: str, *, first: bool) -> str:
    """Return what one record of a canary is called: its state; any further record says its module, too."""
    return state if first else f"{state}{_IN}{module}"


def state_of(name: str) -> str:
    """Return the state of a record that `named` named."""
    return name.partition(_IN)[0]


def lacking(there: Mapping[str, str], modules: Sequence[str], home: str) -> dict[str, dict[str, str]]:
    """Return the records that are not there, by state: each one's name, and its module.

    `there` tells the module of each name, `home` where a canary begins that has no record yet.
    """
    found: dict[str, dict[str, str]] = {}
    for state in STATES:
        first = there.get(state, home)
        wanted = dict.fromkeys((first, *modules))
        names = {named(state, module, first=module == first): module for module in wanted}
        if missing := {name: module for name, module in names.items() if name not in there}:
            found[state] = missing
    return found


def tell_lacking(missing: Mapping[str, Mapping[str, str]]) -> str:
    """Return which canaries there are none of, in words: those of whole states, then by module."""
    whole = [state for state, names in missing.items() if state in names]
    elsewhere: dict[str, list[str]] = {}
    for state, names in missing.items():
        for module in names.values() if state not in names else ():
            elsewhere.setdefault(module, []).append(state)
    parts = [f"there is no canary for: {', '.join(whole)}"] if whole else []
    parts += [f"there is no canary in {name} for: {', '.join(states)}" for name, states in elsewhere.items()]
    return "; ".join(parts)


def calls(states: Sequence[str], *, lists: int, making: bool) -> Counter[str]:
    """Return how many calls of Campaigns make these canaries, or drive them, by endpoint."""
    found: Counter[str] = Counter()
    for state in states:
        for step in NATURES[state].made if making else NATURES[state].driven:
            if step in _ENDPOINTS:
                found[_ENDPOINTS[step]] += lists
            if step in (Step.STOP, Step.KEEP_OUT):
                found["json/contactdonotmail"] += 1
    return found


def write(context: Context, steps: Sequence[Step], address: str) -> list[Result]:
    """Write a canary's steps to every governed list; a step that fails stops none."""
    return [result for step in steps for result in _write(context, step, address)]


def _write(context: Context, step: Step, address: str) -> Sequence[Result]:
    lists, campaigns = context.lists, context.campaigns
    match step:
        case Step.GRANT | Step.REFUSE:
            return [campaigns.place(name, address, granted=step is Step.GRANT) for name in lists]
        case Step.JOIN:
            return [campaigns.subscribe(name, address) for name in lists]
        case Step.LEAVE:
            return [campaigns.unsubscribe(name, address) for name in lists]
        case Step.STOP:
            return campaigns.refuse(address, lists, active_on=None)
        case Step.KEEP_OUT:
            return campaigns.refuse(address, (), active_on=None)


Wrong = tuple[str | None, str]
"""The product that shows a canary wrong, None where nothing follows from it, and how."""


def wrong_in_crm(state: str, module: str, *, opted_out: bool | None) -> Iterator[Wrong]:
    """Yield what is wrong with a canary in a module of CRM; None: it is not there."""
    if opted_out is None:
        yield None, f"the {state} canary is not in {module} any more"
    elif opted_out is not OPTED_OUT[state]:
        reads = "opted out" if opted_out else "not opted out"
        yield CRM, f"the {state} canary reads {reads} in {module}"


def wrong_in_campaigns(state: str, statuses: Mapping[str, str], permission: str | None) -> Iterator[Wrong]:
    """Yield what is wrong with a canary in Campaigns: its status by list, and the segment that shows it."""
    nature = NATURES[state]
    active = sorted(name for name, status in statuses.items() if status == Member.ACTIVE.value)
    if nature.status is None:
        if active:
            yield CAMPAIGNS, f"the {state} canary is active in Campaigns"
    elif not statuses:
        yield None, f"the {state} canary is not on the list any more"
        return
    elif nature.status is Member.BOUNCED:
        if Member.BOUNCED.value not in statuses.values():
            yield None, f"the {state} canary has not bounced yet"
    elif len(active) < len(statuses):
        other = next(status for status in statuses.values() if status != Member.ACTIVE.value)
        yield None, f"the {state} canary is {other} on the list"
        return
    if permission == "granted" if nature.any_permission else permission != nature.permission:
        yield CAMPAIGNS, f"the {state} canary reads {permission or 'neither'} in Campaigns"
