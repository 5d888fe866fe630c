"""Campaigns' half of a stop: off every list and into Do-Not-Mail, many people side by side, read back.

Do-Not-Mail knows no purposes and covers them all. Once Campaigns is seen to be down, or Do-Not-Mail's
window to be used up, nobody else of the same turn is tried: they would only wait for the same answer.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from service.consent import SubjectId
from service.errors import QuotaExhausted, Unreachable, ZohoError
from service.reconciler import mirror
from service.reconciler.apply import active_lists, refused
from service.reconciler.context import Context
from service.reconciler.enforcement import CAMPAIGNS, Enforced
from service.reconciler.people import familiar
from service.reconciler.port import NOBODY, Member, Result
from service.reconciler.stopping import Ended, Still, Stop, enforced, require
from service.vault.address import fold

AT_A_TIME = 8
"""People at a time; each is a few calls one after the other, and the products allow ten connections."""
TURN_S = 20.0
"""After so long nobody else is begun: new withdrawals with an earlier deadline may be waiting."""
FEW = 4
"""So many are asked about one by one in any case."""
PAGE = 500
"""People of a list that one call shows."""
DEAR = 4
"""What such a page weighs in questions about one person: it takes both sides longer."""
MOST_PAGES = 20
"""Calls that are worth a proof at once, where the usual one is closed."""


def stop_in_campaigns(context: Context, stops: Sequence[Stop], still: Still) -> Mapping[SubjectId, Ended]:
    """Refuse on every list of the purposes that stop, enter Do-Not-Mail, read back.

    Who is not to be stopped any more, or was not reached in this turn, is left out of the answer.
    """
    if not stops:
        return {}
    turn = _Turn.begin(context, stops, still)
    with ThreadPoolExecutor(max_workers=AT_A_TIME, thread_name_prefix="refuse") as threads:
        tried = dict(zip(stops, threads.map(turn.refuse, stops), strict=True))
    written = {stop: one for stop, one in tried.items() if isinstance(one, Enforced) and one.code != NOBODY}
    context.progress("campaigns refused", len(written), len(stops))
    trouble = _read_back(context, list(written))
    with context.db.begin() as tx:
        for lists in {stop.lists for stop in written}:
            indexes = [
                turn.indexes[stop.sub]
                for stop in written
                if stop.lists == lists and trouble.get(stop.sub) is None
            ]
            mirror.note_refused(tx, indexes, lists, context.now())
    return {
        stop.sub: trouble.get(stop.sub) or ([one] if isinstance(one, Enforced) else one)
        for stop, one in tried.items()
        if one is not None
    }


@dataclass(slots=True, kw_only=True)
class _Turn:
    """What is known of the people beforehand, and what is learned about Campaigns on the way."""

    context: Context
    still: Still
    indexes: Mapping[SubjectId, bytes]
    known: set[bytes]
    complete: bool
    active: Mapping[bytes, tuple[str, ...]]
    until: float
    closed: ZohoError | None = None
    lost: list[ZohoError] = field(default_factory=list)

    @classmethod
    def begin(cls, context: Context, stops: Sequence[Stop], still: Still) -> "_Turn":
        indexes = {stop.sub: context.vault.address_index(stop.address) for stop in stops}
        names = sorted({name for stop in stops for name in stop.lists})
        with context.db.read() as tx:
            known, complete = familiar(tx, list(indexes.values()))
            active = active_lists(tx, list(indexes.values()), names)
        return cls(
            context=context,
            still=still,
            indexes=indexes,
            known=known,
            complete=complete,
            active=active,
            until=time.monotonic() + TURN_S,
        )

    def refuse(self, stop: Stop) -> Enforced | Sequence[Enforced] | ZohoError | None:
        """Write one refusal; nothing to write is an empty sequence, and None means: not now, not by us.

        Somebody whom the mirror does not know costs one call, where Campaigns does not know them either;
        a dead mailbox that no list had as active when Campaigns was last read costs none.
        """
        active = [name for name in self.active.get(self.indexes[stop.sub], ()) if name in stop.lists]
        if not stop.lists or (self.complete and stop.bounced and not active):
            return ()
        if self.closed is not None:
            return self.closed
        if time.monotonic() > self.until or stop.sub not in self.still([stop]):
            return None
        try:
            done = self._refuse(stop, active)
        except ZohoError as error:
            self._heed(error)
            return error
        self.lost.clear()
        return done

    def _refuse(self, stop: Stop, active: Sequence[str]) -> Enforced:
        campaigns = self.context.campaigns
        if self.indexes[stop.sub] not in self.known:
            (result,) = campaigns.refuse(stop.address, (), active_on=None)
            self._require_open(result)
            if not result.done:
                raise _failed([result], result.code)
            if result.code == NOBODY:
                return enforced(stop, CAMPAIGNS, NOBODY, result.answer_sha256, self.context.now())
        active_on = active[0] if active and stop.in_crm else None
        results = campaigns.refuse(stop.address, stop.lists, active_on=active_on)
        self._require_open(results[-1])
        end = refused(results, active_on)
        if end.state != "written":
            raise _failed(results, end.code)
        return enforced(stop, CAMPAIGNS, end.code, end.answer_sha256 or b"", self.context.now())

    def _require_open(self, do_not_mail: Result) -> None:
        """Remember that Do-Not-Mail's window is used up: without it nobody is kept out."""
        if do_not_mail.until is not None:
            self.closed = _failed([do_not_mail], do_not_mail.code)

    def _heed(self, error: ZohoError) -> None:
        """Take Campaigns for down once two people in a row got no answer."""
        if isinstance(error, Unreachable):
            self.lost.append(error)
            if len(self.lost) > 1:
                self.closed = error


def _read_back(context: Context, stops: Sequence[Stop]) -> Mapping[SubjectId, ZohoError | None]:
    """Return what speaks against each refusal; from the lists where they are fewer calls than people.

    So they are, too, where the window of asking one by one is used up: who was stopped is not to wait for
    the proof of it until that opens.
    """
    shown = _listed(context, stops, calls=len(stops) // DEAR) if len(stops) > FEW else set()
    asked = [stop for stop in stops if stop.sub not in shown]

    def ask(stop: Stop) -> ZohoError | None:
        try:
            require(context.campaigns.is_refused(stop.address))
        except ZohoError as error:
            return error
        return None

    with ThreadPoolExecutor(max_workers=AT_A_TIME, thread_name_prefix="read-back") as threads:
        told = dict(zip((stop.sub for stop in asked), threads.map(ask, asked), strict=True))
    closed = [stop for stop in asked if isinstance(told[stop.sub], QuotaExhausted)]
    return told | dict.fromkeys(_listed(context, closed, calls=MOST_PAGES))


def _listed(context: Context, stops: Sequence[Stop], *, calls: int) -> set[SubjectId]:
    """Return whom every one of their lists shows as unsubscribed; nobody, if that took so many calls."""
    names = sorted({name for stop in stops for name in stop.lists})
    try:
        counts = context.campaigns.unsubscribed_counts() if stops else {}
        if sum(2 + counts.get(name, 0) // PAGE for name in names) >= calls:
            return set()
        left = {
            name: {fold(found.address) for found in context.campaigns.members(name, Member.UNSUBSCRIBED)}
            for name in names
        }
    except ZohoError:
        return set()  # asked one by one instead, where each gets an answer or an error of their own
    return {stop.sub for stop in stops if all(fold(stop.address) in left[name] for name in stop.lists)}


def _failed(results: Sequence[Result], code: str) -> ZohoError:
    """Return what stands in the way; where a window is used up, with the time when it opens."""
    message = f"Campaigns did not take the refusal ({code})"
    known = [result.until for result in results if result.until is not None]
    if known:
        return QuotaExhausted(message, code=code, until=max(known))
    unanswered = any(result.retry for result in results)
    return Unreachable(message, code=code) if unanswered else ZohoError(message, code=code)
