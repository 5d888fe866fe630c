"""The verdict on a published log: good, bad, or incomplete.

Pure. What contradicts makes it bad, even if something is missing as well; what is only missing makes it
incomplete. Whatever the files hold, the answer is a verdict.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from service.errors import Tampered
from service.ledger.cosignature import read_vkey
from service.ledger.handover import follow
from service.ledger.note import Verifier, Verifies
from service.ledger.proof import Checkpoint, open_checkpoint
from service.ledger.replay import attested, earlier
from service.ledger.replay.attested import CHECKPOINT, KEYS, POLICY, signed_by
from service.ledger.replay.earlier import Earlier
from service.ledger.replay.files import Files, handovers
from service.ledger.replay.lists import Lists
from service.ledger.replay.piece import Found, Piece, check
from service.ledger.replay.source import Progress, Source, Submit
from service.ledger.replay.walk import Walk
from service.ledger.verify import EXIT_CODES, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Beliefs:
    """What an auditor brings along: the log's key, and whom else to believe.

    `policy` is a policy file in place of the folder's, `roots` the PEM of time-stamping authorities;
    `earlier` are files that the log signed before and this auditor kept.
    """

    log_vkey: str | Sequence[str]
    policy: bytes | None = None
    roots: bytes | None = None
    earlier: Sequence[Earlier] = ()

    @property
    def vkeys(self) -> tuple[str, ...]:
        """Return the keys of the log, one or several of a log whose key changed."""
        return (self.log_vkey,) if isinstance(self.log_vkey, str) else tuple(self.log_vkey)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement, the first thing that is wrong with its place, and what was checked until then.

    `origin` and `size` are those of the verified checkpoint, None if it was not reached.
    """

    state: State
    reason: str
    origin: str | None = None
    size: int | None = None
    checked: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """What a program exits with: 0 good, 1 bad, 2 incomplete."""
        return EXIT_CODES[self.state]

    def report(self) -> str:
        """Return the verdict for people, several lines, the state first."""
        lines = [f"{self.state}: {self.reason}"]
        if self.origin is not None:
            lines.append(f"log: {self.origin}, {self.size} entries at the checkpoint")
        lines += [f"checked: {count} {what}" for what, count in self.checked.items() if count]
        return "\n".join([*lines, *self.remarks, ""])


def at_once(piece: Piece) -> partial[Found]:
    """Check a piece in this process, when its result is asked for."""
    return partial(check, piece)


def judge(source: Source, beliefs: Beliefs, submit: Submit, progress: Progress) -> Verdict:
    """Return the verdict on the log that a source has; `Malformed` if `log_vkey` is no Ed25519 key."""
    trial = _Trial(source, beliefs)
    state, reason = State.GOOD, "every entry, hash, signature and list holds"
    try:
        trial.run(submit, progress)
    except Tampered as error:  # elsewhere never caught; here the judgement is the answer that was asked for
        state, reason = State.BAD, str(error)
    else:
        if trial.missing:
            state, reason = State.INCOMPLETE, f"{_told(trial.missing)}; what is here holds"
    head = trial.head
    return Verdict(
        state=state,
        reason=reason,
        origin=head.origin if head else None,
        size=head.size if head else None,
        checked=dict(trial.checked),
        remarks=tuple(trial.remarks),
    )


class _Trial:
    """One pass over everything; each step raises `Tampered` at what contradicts and notes what is missing."""

    def __init__(self, source: Source, beliefs: Beliefs) -> None:
        self._source = source
        self._beliefs = beliefs
        self._logs = [Verifier.from_vkey(vkey) for vkey in beliefs.vkeys]
        self.head: Checkpoint | None = None
        self.missing: list[str] = []
        self.remarks: list[str] = []
        self.checked: Counter[str] = Counter()

    def run(self, submit: Submit, progress: Progress) -> None:
        """Take every step, in the order in which trust flows."""
        note = self._source.read(CHECKPOINT)
        if note is None:
            self.missing.append(f"{CHECKPOINT} is missing")
            return
        self.head = head = self._open(note)
        kept = [*self._beliefs.earlier, *self._stamps()]
        files = Files(self._source, head.size)
        with Lists() as lists:
            walk = Walk(files, head, lists)
            walk.marks, walk.wanted = earlier.sizes(kept), {index for one in kept for index in one.leaves}
            walk.checked = self.checked
            walk.run(submit, progress)
            self.missing += [f"{path} is missing" for path in files.missing]
            self.checked.update(files.require_others())
            self._check_keys(note, walk)
            self._check_policy(note, [*self._logs, *map(read_vkey, (*walk.named.log, *walk.named.log_pq))])
            for one in kept:
                self._check_earlier(one, walk, head)
            self.checked["index epochs made again"] = lists.require(walk.known)

    def _open(self, note: bytes) -> Checkpoint:
        """Return the checkpoint that the log's key signed, or a key to which it was handed over."""
        try:
            if not signed_by(note, self._logs):
                self._logs = follow(self._logs, handovers(self._source, earlier.parse(note).size))
            head = open_checkpoint(note, self._logs)
        except Tampered as error:
            raise Tampered(f"{CHECKPOINT}: {error}") from None
        self.checked["signatures on the checkpoint"] = 1
        return head

    def _check_policy(self, note: bytes, logs: Sequence[Verifies]) -> None:
        """Check the lines of the witnesses that are believed, and that there are enough of them.

        `logs` are all keys of this log over time: the policy may name a newer one than the auditor has.
        """
        name, text = "the policy given", self._beliefs.policy
        if text is None and POLICY in self._source.promised:
            name, text = POLICY, self._source.read(POLICY)
            if text is None:
                self.missing.append(f"{POLICY} is missing")
        if text is None:
            return
        policy = attested.read_policy(name, text, [] if self.missing else logs)
        names = attested.cosigned(note, policy)
        self.checked["cosignatures by witnesses"] = len(names)
        if not policy.satisfied(names):
            self.missing.append("cosignatures by as many witnesses as the policy asks for are missing")

    def _stamps(self) -> list[Earlier]:
        """Check the folder's time stamps; return their checkpoints, which must be parts of the log."""
        stamps, missing = attested.read_stamps(self._source)
        self.missing += [f"{path} is missing" for path in missing]
        said = [attested.require_stamp(stamp, self._beliefs.roots) for stamp in stamps]
        self.checked["time stamps"] = len(said)
        if said and self._beliefs.roots is None:
            self.remarks.append(
                "time stamps hold by the certificates that came with them; give those you trust with --tsa"
            )
        return [earlier.read(stamp.name, stamp.note) for stamp in stamps]

    def _check_keys(self, note: bytes, walk: Walk) -> None:
        """Check what needs the keys that the log itself names, where its first entry is there."""
        if not walk.known:
            return
        if not attested.has_second_line(note, walk.named):
            self.missing.append("the ML-DSA-44 line of the checkpoint is missing")
        self.checked["signatures on the checkpoint"] += bool(walk.named.log_pq)
        if KEYS in self._source.promised:
            text = self._source.read(KEYS)
            if text is None:
                self.missing.append(f"{KEYS} is missing")
            elif walk.known == walk.size:  # otherwise a key may have been named in what is missing
                attested.require_keys(text, self._beliefs.vkeys, walk.named)

    def _check_earlier(self, one: Earlier, walk: Walk, head: Checkpoint) -> None:
        keys = [*self._logs, *map(read_vkey, (*walk.named.log, *walk.named.log_pq))]
        for then in earlier.open_notes(one, keys, head.origin):
            if then.size > head.size:
                raise Tampered(
                    f"{one.name}: the log had {then.size} entries then, and has {head.size} here; "
                    "it was rolled back, or this is an old copy"
                )
            earlier.require_root(one.name, then, walk.roots)
        for index, leaf in one.leaves.items():
            if walk.leaves.get(index, leaf) != leaf:
                raise Tampered(f"{one.name}: entry {index} is another one in this log than it was then")
        self.checked["earlier checkpoints that the log continues"] += len(one.notes)


def _told(missing: Sequence[str]) -> str:
    more = len(missing) - 1
    return missing[0] + (f", and {more} more" if more else "")
