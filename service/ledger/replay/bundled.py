"""Compare an auditor's bundle with what the log signed at other times.

Pure. A bundle holds one person's entries, not the log, so it can be compared with a checkpoint only at its
own size, and at those that its evidence of completeness runs through; and with receipts of the same entries.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from service.errors import Tampered
from service.ledger import archive, members
from service.ledger.cosignature import read_vkey
from service.ledger.entry import decode
from service.ledger.handover import follow
from service.ledger.members import CHECKPOINT, COMPLETENESS
from service.ledger.merkle import Edge, leaf_hash
from service.ledger.note import Verifier, Verifies
from service.ledger.proof import Checkpoint, decode_proof, open_checkpoint
from service.ledger.replay import attested, earlier
from service.ledger.replay.earlier import Earlier
from service.ledger.replay.judge import Beliefs
from service.ledger.replay.piece import Named, read_named
from service.ledger.verify import State, Verdict, verify_bundle


def judge_bundle(data: bytes, beliefs: Beliefs, directory_key: bytes | None = None) -> Verdict:
    """Return the verdict on a bundle, compared with everything else that the auditor has.

    As `verify_bundle`; incomplete also where something kept earlier cannot be compared with it.
    """
    verdict = verify_bundle(data, beliefs.log_vkey, directory_key)
    if verdict.state is State.BAD or verdict.size is None:
        return verdict
    try:
        missing = list(_compare(archive.unpack(data), beliefs))
    except Tampered as error:  # the judgement is the answer that was asked for
        return replace(verdict, state=State.BAD, reason=str(error), finding=None)
    if missing and verdict.state is State.GOOD:
        return replace(verdict, state=State.INCOMPLETE, reason=f"{missing[0]}; what is here holds")
    return verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """What a verified bundle shows of the log."""

    head: Checkpoint
    leaves: Mapping[int, bytes]
    named: Named
    roots: Mapping[int, bytes]


def _compare(files: Mapping[str, bytes], beliefs: Beliefs) -> Iterator[str]:
    """Yield what is missing for a comparison; `Tampered` at what contradicts."""
    entries = [decode_proof(files[members.entry_name(i)]).entry for i in members.entry_indexes(files)]
    keys = follow([Verifier.from_vkey(beliefs.log_vkey)], entries)
    note = _head_note(files)
    if beliefs.policy is not None:
        named = [vkey for data in entries for vkey in _log_keys(data, keys[0].name)]
        policy = attested.read_policy("the policy given", beliefs.policy, [*keys, *map(read_vkey, named)])
        if not policy.satisfied(attested.cosigned(note, policy)):
            yield "cosignatures by as many witnesses as the policy asks for are missing"
    if beliefs.earlier:
        log = _read(files, open_checkpoint(note, keys), earlier.sizes(beliefs.earlier))
        for one in beliefs.earlier:
            yield from _compare_one(one, log, keys)


def _compare_one(one: Earlier, log: _Log, keys: Sequence[Verifies]) -> Iterator[str]:
    keys = [*keys, *map(read_vkey, (*log.named.log, *log.named.log_pq))]
    for then in earlier.open_notes(one, keys, log.head.origin):
        if not earlier.require_root(one.name, then, log.roots):
            yield f"what shows that a log of {then.size} entries ({one.name}) is part of this one is missing"
    for index, leaf in one.leaves.items():
        if log.leaves.get(index, leaf) != leaf:
            raise Tampered(f"{one.name}: entry {index} is another one in this bundle than it was then")


def _log_keys(data: bytes, origin: str) -> list[str]:
    """Return the keys for checkpoints that an entry of the log's own names."""
    line = decode(data)
    if line.category not in {"log.genesis", "key.rotated"}:
        return []
    named = read_named(line.extra, origin)
    return [*named.log, *named.log_pq]


def _head_note(files: Mapping[str, bytes]) -> bytes:
    """Return the checkpoint, which each entry's file carries as well."""
    if CHECKPOINT in files:
        return files[CHECKPOINT]
    return decode_proof(files[members.entry_name(members.entry_indexes(files)[0])]).checkpoint_note


def _read(files: Mapping[str, bytes], head: Checkpoint, sizes: set[int]) -> _Log:
    leaves, named, roots = {}, Named(), {head.size: head.root}
    for index in members.entry_indexes(files):
        entry = decode_proof(files[members.entry_name(index)]).entry
        leaves[index] = leaf_hash(entry)
        line = decode(entry)
        if line.category in {"log.genesis", "key.rotated"}:
            named = named.joined(read_named(line.extra, head.origin))
    if COMPLETENESS in files:
        shown = members.parse_completeness(files[COMPLETENESS])
        edge = Edge.from_bytes(shown.edge)
        for data in (*shown.tail, None):
            if edge.size in sizes:
                roots[edge.size] = edge.root()
            if data is not None:
                edge.add(leaf_hash(data))
    return _Log(head=head, leaves=leaves, named=named, roots=roots)
