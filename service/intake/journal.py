"""What is written beside the entries, in the transaction that appends them.

The sequencer calls `prepare` outside the lock and the rest inside it. A claim about an address
that is new opens a person first: `subject.opened` and the event are one submission, so that
neither exists without the other.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, Table, bindparam, delete

from service.consent import STOPS, Category, Event, Standing, SubjectId
from service.db import (
    EPOCH,
    Database,
    chunks,
    happening,
    insert_all,
    payload,
    standing,
    subject,
    subject_key,
    task,
)
from service.errors import ServiceError
from service.intake.claim import Claim, Recorded
from service.intake.making import NOBODY, Known, Maker, Prepared
from service.intake.moments import TOO_LATE, in_order, last_moment
from service.intake.places import crm_countries, crm_countries_of
from service.intake.projection import event_of, events_of, row_of, standing_row, standings
from service.intake.suppression import count_versions, kept_out
from service.ledger.batch import Appended, Placed, Submission
from service.ledger.entry import decode
from service.ledger.store import LOG_ID, Store
from service.policy import PolicySet
from service.vault import Vault
from service.vault.keys import Keys

CONSENT = frozenset(
    {
        Category.REQUESTED,
        Category.GRANTED,
        Category.CONFIRMED,
        Category.REFUSED,
        Category.WITHDRAWN,
        Category.BOUNCE_HARD,
        Category.BOUNCE_SOFT,
        Category.BOUNCE_UNKNOWN,
        Category.COMPLAINT,
        Category.SUPPRESSION_ADDED,
        Category.SUPPRESSION_LIFTED,
        Category.CORRECTION,
    }
)
"""Categories that can change what a history adds up to."""

_Rows: TypeAlias = dict[Table, list[dict[str, Any]]]
_FORGET = delete(standing).where(standing.c.sub.in_(bindparam("subs", expanding=True)))


class ClaimJournal:
    """The journal of claims: makes entries of them and keeps everything derived in step."""

    def __init__(
        self,
        db: Database,
        vault: Vault,
        store: Store,
        keys: Keys,
        policy: PolicySet,
        *,
        renew: Callable[[int], None],
        require_keeper: Callable[[], None],
    ) -> None:
        self._db = db
        self._vault = vault
        self._store = store
        self._policy = policy
        self._renew = renew
        self._require_keeper = require_keeper
        self._newest = EPOCH  # when the newest entry that this process knows was received
        self._pending = self._last = (0, EPOCH)  # size and newest time after our last append
        self._prepared_at = 0
        self._stops = False  # whether our last append wrote a task
        self.ring: Callable[[], None] | None = None
        """Called after each commit that wrote a task; it must not block."""
        self.adopt(keys)

    def adopt(self, keys: Keys) -> None:
        """Sign and wrap with these keys from now on."""
        self._kek_id = keys.kek_id
        self._nobodys: dict[bytes, bytes] = {}
        self._maker = Maker(self._vault, keys, self._policy)

    def renew(self, generation: int) -> None:
        """Read the service's keys again; raises what keeps them from being read."""
        self._renew(generation)

    def prepare(self, drafts: Sequence[Claim]) -> Sequence[Submission | ServiceError]:
        """Return signed entries for each claim; a person seen twice in one call is opened once."""
        try:
            self._require_keeper()
        except ServiceError as error:
            return [error for _ in drafts]
        self._prepared_at = self._last[0]
        known = self._known(drafts)
        made: list[Submission | ServiceError] = []
        for claim in drafts:
            try:
                made.append(self._maker.submission(in_order(claim, self._newest), known))
            except ServiceError as error:
                made.append(error)
        return made

    def stale(self, tx: Connection, submissions: Sequence[Submission]) -> frozenset[int]:
        """Return the claims whose person somebody else opened, did not open, or erased in the meantime.

        So are those that were received too long before the entry that they would follow.
        """
        contexts = [_context(submission) for submission in submissions]
        size, self._newest = self._last
        if size != self._store.locked:
            self._newest = last_moment(tx, self._store)
        erasures = self._store.erasures
        if any(context.erasures != erasures for context in contexts):
            return frozenset(range(len(contexts)))
        alone = self._prepared_at == self._store.locked  # nothing was appended since, so nobody was opened
        new = [] if alone else list({c.new.address_index for c in contexts if c.new is not None})
        known = self._vault.find_many(tx, new)
        late: set[int] = set()
        for position, context in enumerate(contexts):
            if context.claim.received_at < self._newest - TOO_LATE:
                late.add(position)
                continue
            self._newest = max(self._newest, context.claim.received_at)
            if context.new is None:
                continue
            found = known.get(context.new.address_index)
            if found != (None if context.opens else context.sub):
                late.add(position)
            else:
                known[context.new.address_index] = context.sub
        return frozenset(late)

    def attach(self, tx: Connection, placed: Sequence[Placed]) -> None:
        """Write persons, keys, payloads, events, standings and tasks for what was just appended."""
        rows: _Rows = {table: [] for table in (subject, subject_key, payload, happening, task)}
        for place in placed:
            context = _context(place.submission)
            if context.opens:
                self._open(rows, context, place)
            self._attach_event(rows, context, place)
        rows[standing] = self._stand(tx, placed, rows[happening])
        insert_all(tx, rows)
        if self._store.erasures:
            count_versions(tx, {row["address_index"]: row["version"] for row in rows[subject]})
        self._stops = bool(rows[task])
        self._pending = (placed[-1].index + 1, self._newest)

    def release(self, appended: Appended, context: object) -> Recorded:
        """Return the receipt; a duplicate names the person whom its entry names."""
        assert isinstance(context, Prepared), "this journal made every submission it is shown"
        sub = None if context.sub == NOBODY else context.sub
        if appended.duplicate:
            named = decode(appended.entry).subject
            sub = None if named is None else SubjectId(named)
        else:
            self._last = self._pending
            if self._stops and self.ring is not None:
                self.ring()
        return Recorded(
            index=appended.index,
            entry=appended.entry,
            proof=appended.proof,
            checkpoint=appended.checkpoint,
            duplicate=appended.duplicate,
            subject=sub,
            unmet=context.unmet,
        )

    def _known(self, drafts: Sequence[Claim]) -> Known:
        addresses = {claim.address for claim in drafts if claim.address is not None}
        indexes = {address: self._vault.address_index(address) for address in addresses}
        named = {claim.subject for claim in drafts if claim.subject is not None}
        erasures = self._store.erasures  # asked first: what is erased after this makes the claims stale
        with self._db.read() as tx:
            subjects = self._vault.find_many(tx, list(indexes.values()))
            keys = self._vault.keys_of(tx, list({*subjects.values(), *named})) | self._own_key(tx)
            tokens = kept_out(tx, list(indexes.values())) if erasures else {}
            crm = crm_countries(tx, list(indexes.values())) | crm_countries_of(tx, list(named))
        return Known(
            indexes=indexes,
            subjects=subjects,
            keys=keys,
            opened={},
            crm=crm,
            tokens=tokens,
            erasures=erasures,
        )

    def _own_key(self, tx: Connection) -> dict[bytes, bytes]:
        """Return the key of what is about nobody; it is never destroyed, and is read once."""
        if not self._nobodys:
            self._nobodys = self._vault.keys_of(tx, [NOBODY])
        return self._nobodys

    def _open(self, rows: _Rows, context: Prepared, place: Placed) -> None:
        new = context.new
        assert new is not None, "only a new person is opened"
        rows[subject].append(
            {
                "sub": new.sub,
                "address_index": new.address_index,
                "dk": new.dk,
                "r": new.r,
                "version": new.version,
                "opened_idx": place.first,
                "address": new.address,
            }
        )
        rows[subject_key].append({"sub": new.sub, "kek_id": self._kek_id, "wrapped": new.wrapped})
        rows[happening].append(
            row_of(
                context.claim,
                new.sub,
                place.first,
                "F",
                atlas=self._policy.atlas,
                hint=context.hint,
                category=Category.SUBJECT_OPENED,
            )
        )

    def _attach_event(self, rows: _Rows, context: Prepared, place: Placed) -> None:
        claim = context.claim
        if context.sealed is not None:
            row = {"log_id": LOG_ID, "idx": place.index, "sub": context.sub, "sealed": context.sealed}
            rows[payload].append(row)
        if context.sub == NOBODY:
            return
        rows[happening].append(
            row_of(
                claim, context.sub, place.index, context.grade, atlas=self._policy.atlas, hint=context.hint
            )
        )
        if claim.enforce and claim.category in STOPS:
            rows[task].append(self._task(context, place.index))

    def _task(self, context: Prepared, index: int) -> dict[str, Any]:
        """Return the task that carries a stop, due by the law of where the person is, from their word on.

        Who is known by their number alone may have any mailbox: the providers' rules hold as well.
        """
        claim, atlas = context.claim, self._policy.atlas
        there = atlas.place(country=claim.country, crm=context.crm, hint=context.hint)
        due_at, rule = self._policy.stop_by(claim.clocks_from, there.jurisdiction, address=claim.address)
        return {
            "sub": context.sub,
            "cause_idx": index,
            "received_at": claim.clocks_from,
            "due_at": due_at,
            "due_rule": rule.id,
            "state": "open",
            "attempts": 0,
            "not_before": claim.received_at,
        }

    def _stand(
        self, tx: Connection, placed: Sequence[Placed], rows: Iterable[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Fold again the history of everybody whose standing can have changed; return the rows of `standing`.

        What was said until now is read, but for those whom this transaction opens; `rows` are the new events.
        """
        contexts = [_context(place.submission) for place in placed]
        touched = {c.sub: c.crm for c in contexts if c.claim.category in CONSENT and c.sub != NOBODY}
        opened = {context.sub for context in contexts if context.opens}
        known = list(touched.keys() - opened)
        events = events_of(tx, known)
        for row in rows:
            if row["sub"] in touched:
                events.setdefault(row["sub"], []).append(event_of(row))
        for part in chunks(known):
            tx.execute(_FORGET, {"subs": part})
        folded = ((sub, self._standings(events[sub], crm)) for sub, crm in touched.items())
        return [standing_row(sub, one) for sub, found in folded for one in found]

    def _standings(self, events: Sequence[Event], crm: str | None) -> list[Standing]:
        return standings(events, self._policy, max(event.recorded_at for event in events), crm)


def _context(submission: Submission) -> Prepared:
    assert isinstance(submission.context, Prepared), "this journal made every submission it is shown"
    return submission.context
