"""Gotchas 1, 5 and 7: what Campaigns knows and CRM does not, and two consent fields that disagree."""

from collections.abc import Mapping

from sqlalchemy import CTE, ColumnElement, func, type_coerce

from service.db.columns import Int
from service.reconciler.audit.counting import (
    Count,
    Measure,
    bounced_hard_at,
    has_bounced_hard,
    has_bounced_soft,
    has_left,
    is_open_in_crm,
    left_at,
)
from service.reconciler.audit.point import Figure, Point, Verdict

BY_SYNC = "Zoho campaigns"
"""What `Unsubscribed_Mode` says where Zoho's own sync set Email_Opt_Out (facts zoho-crm, section 2.2)."""

_DAILY_MS = 26 * 3_600_000
"""Zoho's own sync runs daily at the latest, and takes its time."""

_SWITCH = (
    'Ask the admin for the switch "Sync unsubscribes to CRM Email Opt Out" in the sync settings of '
    "Campaigns; this service does not need it, but people see the flag sooner."
)
_TAG = (
    "Run consent-ledger reconcile --apply: it sets Email Opt Out, and the bounce reason field where "
    "policies/zoho.toml names one (crm.reason_field)."
)


def measures(fact: CTE, *, soft_limit: int) -> Mapping[str, Measure]:
    """Return what is counted for the three points."""
    f = fact.c
    left, still_open = has_left(fact), is_open_in_crm(fact)
    dead, failing = has_bounced_hard(fact, soft_limit), has_bounced_soft(fact, soft_limit)
    shut, in_crm = func.coalesce(f.opted_out, 0) > 0, f.records > 0
    granted, refused = f.permission == "granted", f.permission == "refused"
    mailed = func.coalesce(f.active, 0) > 0
    said = func.coalesce(f.crm_at, f.permission_since)
    return {
        "left_open": Measure(where=left & still_open, since=left_at(fact)),
        "left_flowed": Measure(where=left & ~still_open & (f.crm_mode == BY_SYNC), since=left_at(fact)),
        "left_written": Measure(
            where=left & in_crm & ~still_open & (func.coalesce(f.crm_mode, "") != BY_SYNC),
            since=left_at(fact),
        ),
        "left_slow": Measure(
            where=left & ~still_open & (func.coalesce(f.crm_mode, "") != BY_SYNC) & _after_a_day(fact),
            since=left_at(fact),
        ),
        "hard_open": Measure(where=dead & still_open, since=bounced_hard_at(fact)),
        "soft_open": Measure(where=failing & still_open, since=f.soft_at),
        "tagged": Measure(where=dead & in_crm & ~still_open, since=bounced_hard_at(fact)),
        "open_granted": Measure(where=in_crm & ~shut & granted, since=f.permission_since),
        "shut_refused": Measure(where=shut & refused, since=said),
        "shut_granted": Measure(where=shut & granted & mailed, since=said),
        "shut_on_paper": Measure(where=shut & granted & ~mailed, since=said),
        "open_refused": Measure(where=in_crm & ~shut & refused, since=f.permission_since),
        "no_permission": Measure(where=in_crm & f.permission.is_(None), since=f.crm_at),
        "by_hand": Measure(where=shut & granted & mailed & (f.crm_mode == "Manual"), since=said),
        "by_crm_form": Measure(
            where=shut & granted & mailed & f.crm_mode.in_(("Consent form", "Unsubscribe link")), since=said
        ),
    }


def _after_a_day(fact: CTE) -> ColumnElement[bool]:
    """Return whom CRM was told of so late that a sync which runs daily would have been first."""
    told, left = type_coerce(fact.c.crm_at, Int), type_coerce(left_at(fact), Int)
    return told - left > _DAILY_MS


def unsubscribes(found: Mapping[str, Count]) -> Point:
    """Say whether unsubscribes reach CRM, and what the sync switch looks like."""
    still, flowed, written = found["left_open"], found["left_flowed"], found["left_written"]
    return Point(
        number=1,
        key="unsubscribes",
        title="Unsubscribes that did not flow back",
        verdict=Verdict.FAIL if still.people else Verdict.PASS,
        people=still.people,
        oldest=still.oldest,
        summary=f"Left in Campaigns, still mailable in CRM: {still.people:,}. {_switch(found)}.",
        how=(
            "Lists by status, opt-outs and complaints of every sent campaign, joined with Email Opt Out of "
            "every CRM record of the address. The switch is read from Unsubscribed Mode, "
            f'which says "{BY_SYNC}" where Zoho\'s sync wrote it.'
        ),
        advice=_back(found),
        figures=(
            Figure(label="left in Campaigns, open in CRM", value=still.people, oldest=still.oldest),
            Figure(label="brought to CRM by Zoho's sync", value=flowed.people),
            Figure(label="brought to CRM in another way, this service among them", value=written.people),
        ),
    )


def _back(found: Mapping[str, Count]) -> tuple[str, ...]:
    if not found["left_open"].people:
        return (_SWITCH,) if found["left_flowed"].newest is None and found["left_written"].people else ()
    return "Run consent-ledger reconcile --apply: it opts all records of these people out.", _SWITCH


def _switch(found: Mapping[str, Count]) -> str:
    """Return what the switch looks like: it shows in the newest people, whom it brought or did not bring.

    Where somebody else brought the newest within a day, this service among them, it does not show.
    """
    still, flowed, written = found["left_open"], found["left_flowed"], found["left_written"]
    missed = [one.newest for one in (still, found["left_slow"]) if one.newest is not None]
    if flowed.newest is None:
        if still.newest is None and written.newest is None:
            return "Nobody left yet"
        return "The sync switch looks off" if missed else "The sync switch looks off, or always comes last"
    if missed and max(missed) > flowed.newest:
        return "The sync switch looks off now, though it once was on"
    if written.newest is not None and written.newest > flowed.newest:
        return "The sync switch does not show: others were first lately, this service among them"
    if still.people:
        return "The sync switch looks on, but was not always, or skips people"
    return "The sync switch looks on"


def bounces(found: Mapping[str, Count], *, soft_limit: int, soft_days: int) -> Point:
    """Say which dead mailboxes CRM would still mail."""
    hard, soft, tagged = found["hard_open"], found["soft_open"], found["tagged"]
    people = hard.people + soft.people
    oldest = min((c.oldest for c in (hard, soft) if c.oldest is not None), default=None)
    return Point(
        number=5,
        key="bounces",
        title="Bounces that did not tag CRM",
        verdict=Verdict.FAIL if people else Verdict.PASS,
        people=people,
        oldest=oldest,
        summary=(
            f"Bounced for good: {hard.people:,}; failed again and again: {soft.people:,}. CRM mails them."
            if people
            else f"Dead mailboxes that CRM holds, all opted out there: {tagged.people:,}."
        ),
        how=(
            "Hard and soft bounces of every sent campaign and the lists' bounced contacts; a mailbox counts "
            f"as dead after {soft_limit} soft bounces in {soft_days} days (policies/enforcement.toml)."
        ),
        advice=(_TAG,) if people else (),
        figures=(
            Figure(label="bounced for good, open in CRM", value=hard.people, oldest=hard.oldest),
            Figure(label="failed again and again, open in CRM", value=soft.people, oldest=soft.oldest),
            Figure(label="bounced for good, tagged in CRM", value=tagged.people),
        ),
    )


def permissions(found: Mapping[str, Count], *, label: str) -> Point:
    """Count the four combinations of both fields, and say which contradict each other."""
    shut, open_ = found["shut_granted"], found["open_refused"]
    people = shut.people + open_.people
    oldest = min((c.oldest for c in (shut, open_) if c.oldest is not None), default=None)
    return Point(
        number=7,
        key="permission",
        title=f"{label} against Email Opt Out",
        verdict=Verdict.FAIL if people else Verdict.PASS,
        people=people,
        oldest=oldest,
        summary=f"Two consent fields that contradict each other: {people:,}.",
        how=(
            f"The two segments of {label} joined with Email Opt Out; somebody with several records counts "
            "as opted out when one of them is."
        ),
        advice=_mend(found, label) if people else (),
        figures=(
            Figure(label=f"CRM open, {label} granted: agree", value=found["open_granted"].people),
            Figure(label=f"CRM opted out, {label} refused: agree", value=found["shut_refused"].people),
            Figure(label=f"CRM opted out, {label} granted, on a list", value=shut.people, oldest=shut.oldest),
            Figure(label=f"CRM open, {label} refused", value=open_.people, oldest=open_.oldest),
            Figure(
                label=f"CRM opted out, {label} granted, on no list any more",
                value=found["shut_on_paper"].people,
            ),
            Figure(label=f"in CRM, without {label}", value=found["no_permission"].people),
            Figure(label="contradictions written by hand in CRM alone", value=found["by_hand"].people),
            Figure(label="contradictions from CRM's own forms and links", value=found["by_crm_form"].people),
            Figure(label="contradictions written in Campaigns alone", value=open_.people),
        ),
    )


def _mend(found: Mapping[str, Count], label: str) -> tuple[str, ...]:
    advice = ["Run consent-ledger reconcile --apply: the restrictive value is written to both."]
    if found["by_crm_form"].people:
        advice.append(
            "CRM web forms and unsubscribe links write Email Opt Out alone: post their consent to this "
            "service too (POST /api/events), which writes both."
        )
    if found["open_refused"].people:
        advice.append(
            f"Sign-up forms and preference pages of Campaigns write {label} alone: let them post here too."
        )
    return tuple(advice)
