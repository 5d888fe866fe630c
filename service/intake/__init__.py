"""The one way in: claims become entries, receipts are given, standings and tasks follow.

Every event, whoever tells it (a form, a key holder, one click, the reconciler, an auditor's
look-up), passes through `Intake`. Nothing in this path calls Zoho.
"""

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, insert
from sqlalchemy.exc import IntegrityError

from service.consent import Category, Event, Standing, SubjectId
from service.db import Database, subject_key
from service.errors import Busy, KeysChanged, Misconfigured, ServiceError
from service.intake.claim import Claim, Recorded, require_sense
from service.intake.erasures import ErasureList
from service.intake.forgetting import replay
from service.intake.journal import ClaimJournal
from service.intake.keychanges import keys_told
from service.intake.making import NOBODY
from service.intake.moments import moment
from service.intake.places import crm_countries_of
from service.intake.policies import keep
from service.intake.projection import events_of, standings
from service.intake.suppression import suppressed, token_of, tokens_of
from service.ledger.canonical import Json
from service.ledger.entry import Entry, encode
from service.ledger.fence import Fence, Guard, GuardedStore
from service.ledger.keeper import Keeper
from service.ledger.merkle import Edge
from service.ledger.sequencer import Sequencer, Tell
from service.ledger.store import Known
from service.policy import PolicySet
from service.vault import Vault
from service.vault.keys import KEY, NONCE, Keys, KeySource

__all__ = ["Claim", "Intake", "Recorded"]

CHUNK = 1000  # claims handed to the sequencer before we wait for the first of them


def _now() -> datetime:
    return datetime.now(UTC)


def _nobody_to_ask() -> None:
    """Stand for the keeper of keys that were handed in as they are."""


class Intake(AbstractContextManager["Intake"]):
    """Takes claims from any source; owns the one thread of this process that writes the ledger."""

    def __init__(
        self,
        db: Database,
        keys: Keys,
        policy: PolicySet,
        *,
        origin: str,
        now: Callable[[], datetime] = _now,
        fence: Fence | None = None,
        source: KeySource | None = None,
        erasures: ErasureList | None = None,
        before: bytes | None = None,
        lost: Mapping[str, Json] | None = None,
    ) -> None:
        self.db = db
        self.keys = keys
        self.policy = policy
        self.now = now
        self.erasures = erasures
        self._before, self._lost = before, lost
        self.source = source
        self.vault = Vault(keys, None if source is None else source.open)
        self.store = GuardedStore(origin, keys.heads, guard=Guard(), generation=keys.generation)
        self._keeper = Keeper(db, self.store, fence)
        self._journal = ClaimJournal(
            db,
            self.vault,
            self.store,
            keys,
            policy,
            renew=self.renew,
            require_keeper=_nobody_to_ask if source is None else source.kek.require_available,
        )
        self._sequencer = Sequencer(db.begin, self.store, self._journal)

    def start(self) -> None:
        """Begin the log if this database has none, check that our keys are its keys, take claims.

        A database that contradicts the fence or a witness is read and never appended to: see `trouble`.
        Raises `Misconfigured` when the keys belong to another log or the log that the fence knows is
        missing, and `Tampered` when the database belongs to another log.
        """
        begun = self._begun()
        self._keeper.check(begun=begun)
        if not begun:
            try:
                with self.db.begin() as tx:
                    self._begin_log(tx)
            except IntegrityError:
                pass  # another process began it a moment ago
        self._meet_generation()
        genesis = self._require_own_log()
        if self.trouble is None:
            self._announce_key(genesis)
        replay(self)
        self._keeper.start()
        self._sequencer.start()

    def stop(self) -> None:
        """Record what was accepted, then stop."""
        self._sequencer.stop()
        self._keeper.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def healthy(self) -> bool:
        """Return whether claims can be expected to be recorded."""
        return self.trouble is None and self._sequencer.healthy

    @property
    def trouble(self) -> str | None:
        """Return why this ledger is read-only, what happened and what to do; None while it is not."""
        return self.store.guard.trouble

    def require_writable(self) -> None:
        """Raise `ReadOnly` where the database is not the log that others know, so nobody acts on it."""
        self.store.guard.require()

    def submit(self, claim: Claim) -> "Future[Recorded]":
        """Queue one claim; the future resolves once it is durable; raises as `hand_in`."""
        self._require_acceptable(claim)
        return self._sequencer.submit(claim)

    def hand_in(self, claim: Claim, tell: Tell[Recorded]) -> None:
        """Queue one claim; `tell` hears once it is durable, or why it is refused. It must not block.

        Raises `Malformed` for a claim that contradicts itself or the clock, `Busy` and
        `Unavailable` when nothing can be accepted. `KeyReused` is told.
        """
        self._require_acceptable(claim)
        self._sequencer.hand_in(claim, tell)

    def record(self, claims: Sequence[Claim]) -> list[Recorded | ServiceError]:
        """Record many claims and wait; results in order, each the receipt or why it was refused."""
        results: list[Recorded | ServiceError] = []
        for start in range(0, len(claims), CHUNK):
            answers = _Answers()
            for place, claim in enumerate(claims[start : start + CHUNK]):
                self._try(claim, partial(answers.put, place))
            results.extend(answers.wait(min(CHUNK, len(claims) - start)))
        return results

    def ring_for_tasks(self, ring: Callable[[], None]) -> None:
        """Have `ring` called as soon as a withdrawal that waits to be carried out is committed here."""
        self._journal.ring = ring

    def renew(self, generation: int) -> None:
        """Read the keys of this generation, which the ledger is at, and use them from now on.

        Raises `KeysChanged` where this process was not told where its keys come from, and `Misconfigured`
        where the keys file is older than the ledger.
        """
        if self.source is None:
            raise KeysChanged(generation)
        self.adopt(self.source.at(generation))

    def adopt(self, keys: Keys) -> None:
        """Use these keys from now on."""
        self.keys = keys
        self.vault.adopt(keys)
        self.store.adopt(keys.heads, keys.generation)
        self._journal.adopt(keys)

    def lock(self, tx: Connection) -> Edge:
        """Lock the log's head until the transaction ends, with the keys that the ledger is at."""
        try:
            return self.store.lock(tx)
        except KeysChanged as changed:
            self.renew(changed.generation)
        return self.store.lock(tx)

    def announce(self, tx: Connection, category: Category, extra: Mapping[str, Json]) -> int:
        """Append what the log says about itself, in the caller's transaction; return the entry's index.

        Locks the head until the transaction ends, so write nothing slow after it.
        """
        edge = self.lock(tx)
        entry = Entry(category=category, at=moment(tx, self.store, self.now()), extra=extra)
        self.store.append(tx, edge, [encode(entry, self.keys.ingest)])
        return edge.size - 1

    def standings(
        self,
        tx: Connection,
        subject: SubjectId,
        at: datetime | None = None,
        events: Sequence[Event] | None = None,
    ) -> list[Standing]:
        """Return one standing per purpose of the policy, now or as of `at`; `events` where they were read.

        Somebody who was erased and came back is kept out of every purpose but those they consented to.
        """
        events = self.events(tx, subject) if events is None else events
        token, crm = token_of(tx, subject), crm_countries_of(tx, [subject]).get(subject)
        found = standings(events, self.policy, at or self.now(), crm)
        return [suppressed(one, token) for one in found]

    def standings_of(self, tx: Connection, subjects: Sequence[SubjectId]) -> dict[SubjectId, list[Standing]]:
        """Return what `standings` returns now for each of many people, in a few statements."""
        told, tokens = events_of(tx, subjects), tokens_of(tx, subjects)
        crm, at = crm_countries_of(tx, subjects), self.now()
        return {
            sub: [
                suppressed(one, tokens.get(sub))
                for one in standings(told.get(sub, []), self.policy, at, crm.get(sub))
            ]
            for sub in subjects
        }

    def events(self, tx: Connection, subject: SubjectId) -> list[Event]:
        """Return a person's events in the order of the log."""
        return events_of(tx, [subject]).get(subject, [])

    def _require_acceptable(self, claim: Claim) -> None:
        require_sense(claim, self.policy.purposes)
        self.require_writable()

    def _try(self, claim: Claim, tell: Tell[Recorded]) -> None:
        """Queue one claim, waiting for room in the queue as a patient caller would."""
        while True:
            try:
                return self.hand_in(claim, tell)
            except Busy:
                self._sequencer.wait_for_room()
            except ServiceError as error:
                return tell(error)

    def _begun(self) -> bool:
        with self.db.read() as tx:
            return self.store.exists(tx)

    def _begin_log(self, tx: Connection) -> None:
        """Write the genesis entry: whose keys sign, which directory key holds, which rules began.

        A log that continues another one holds that one's last checkpoint, and what was lost behind it.
        """
        self.store.begin(tx)
        told = _genesis(self.keys, self.policy)
        if self._before is not None:
            told["before"] = base64.b64encode(self._before).decode()
        if self._lost is not None:
            told["lost"] = self._lost
        entry = Entry(category=Category.LOG_GENESIS, at=self.now(), extra=told)
        self.store.append(tx, self.store.lock(tx), [encode(entry, self.keys.ingest)])
        nonce = secrets.token_bytes(NONCE)
        wrapped = nonce + AESGCM(self.keys.kek).encrypt(nonce, secrets.token_bytes(KEY), NOBODY)
        keep(tx, self.policy, index=0, at=entry.at, by="the first entry")
        tx.execute(insert(subject_key).values(sub=NOBODY, kek_id=self.keys.kek_id, wrapped=wrapped))

    def _meet_generation(self) -> None:
        """Use the keys of the generation that the ledger is at, if they changed while we read them."""
        with self.db.read() as tx:
            generation = self.store.ledger_generation(tx)
        if generation > self.keys.generation:
            self.renew(generation)

    def _require_own_log(self) -> Mapping[str, Json]:
        """Return what the log says about its keys; raises `Misconfigured` unless they are ours."""
        with self.db.read() as tx:
            self.store.exists(tx)
            told = keys_told(tx, self.store)
            older = self.store.ledger_generation(tx) < self.keys.generation  # a backup was restored
        mine = _genesis(self.keys, self.policy)
        theirs = told.get("log") in {key.vkey for key in self.keys.log_verifiers}
        if not theirs or (told.get("dkc") != mine["dkc"] and not older):
            raise Misconfigured(
                "the keys file is not the one this ledger was begun with; "
                "put back the keys that belong to this database"
            )
        return told

    def _announce_key(self, told: Mapping[str, Json]) -> None:
        """Say in the log which ML-DSA key signs its checkpoints, where it does not say so yet; once."""
        vkey = self.keys.log_pq.vkey
        if told.get("log_pq") == vkey:
            return
        key = hmac.digest(self.keys.dedupe, f"\0key.rotated\n{vkey}".encode(), "sha256")
        with self.db.read() as tx:
            if self.store.known(tx, [key]):
                return
        with self.db.begin() as tx:
            self.lock(tx)
            if not self.store.known(tx, [key]):
                index = self.announce(tx, Category.KEY_ROTATED, {"log_pq": vkey})
                self.store.remember(tx, [(key, Known(request=key, index=index, size=index + 1))])


def _genesis(keys: Keys, policy: PolicySet) -> dict[str, Json]:
    """Return what the first entry says besides its time (tlog.md 3.4 for dkc)."""
    return {
        "origin": keys.log.name,
        "log": keys.log.vkey,
        "log_pq": keys.log_pq.vkey,
        "ingest": [keys.ingest.vkey],
        "dkc": base64.b64encode(hashlib.sha256(b"dirkey1" + keys.directory).digest()).decode(),
        "policy": policy.digest.hex(),
        "controller": policy.controller.id,
    }


class _Answers:
    """What became of many claims, by their place; whoever waits for them wakes up once."""

    def __init__(self) -> None:
        self._found: dict[int, Recorded | ServiceError] = {}
        self._wanted = -1
        self._complete = threading.Event()

    def put(self, place: int, outcome: Recorded | ServiceError) -> None:
        self._found[place] = outcome
        if len(self._found) == self._wanted:
            self._complete.set()

    def wait(self, count: int) -> list[Recorded | ServiceError]:
        self._wanted = count
        if len(self._found) < count:  # asked after `_wanted` was set, so that the last one is not missed
            self._complete.wait()
        return [self._found[place] for place in range(count)]
