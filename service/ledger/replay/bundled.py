"""Compare an auditor's bundle with what the log signed at other times.

Pure. A bundle holds one person's entries, not the log, so it can be compared with a checkpoint only at its
own size, and at those that its evidence of completeness runs through; and with receipts of the same entries.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from service.errors import Tampered
from service.ledger import archive, members
from service.ledger.cosignature import CosignatureVerifier, read_vkey
from service.ledger.entry import decode
from service.ledger.handover import follow
from service.ledger.members import CHECKPOINT, COMPLETENESS
from service.ledger.merkle import Edge, leaf_hash, node_hash
from service.ledger.note import Verifier, Verifies
from service.ledger.proof import Checkpoint, decode_proof, open_checkpoint
from service.ledger.replay import anchors, attested, earlier
from service.ledger.replay.earlier import Earlier
from service.ledger.replay.judge import Beliefs
from service.ledger.replay.piece import Named, read_named
from service.ledger.verify import State, Verdict, verify_bundle
from service.ledger.witness import cosignatures


def judge_bundle(data: bytes, beliefs: Beliefs, directory_key: bytes | None = None) -> Verdict:
    """Return the verdict on a bundle, compared with everything else that the auditor has.

    As `verify_bundle`; incomplete also where something kept earlier cannot be compared with it.
    """
    verdict = verify_bundle(data, beliefs.vkeys, directory_key)
    if verdict.state is State.BAD or verdict.size is None:
        return verdict
    try:
        missing = list(_compare(archive.unpack(data), beliefs))
    except Tampered as error:  # the judgement is the answer that was asked for
        return replace(verdict, state=State.BAD, reason=str(error), finding=None)
    if missing and verdict.state is State.GOOD:
        return replace(verdict, state=State.INCOMPLETE, reason=f"{missing[0]}; what is here holds")
    return verdict


_Nodes = dict[tuple[int, int], bytes]
"""Hashes of the log's tree by the first entry below them and the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """What a verified bundle shows of the log."""

    head: Checkpoint
    leaves: Mapping[int, bytes]
    named: Named
    roots: dict[int, bytes]


def _compare(files: Mapping[str, bytes], beliefs: Beliefs) -> Iterator[str]:
    """Yield what is missing for a comparison; `Tampered` at what contradicts."""
    entries = [decode_proof(files[members.entry_name(i)]).entry for i in members.entry_indexes(files)]
    keys = follow([Verifier.from_vkey(vkey) for vkey in beliefs.vkeys], entries)
    note = _head_note(files)
    named = [read_vkey(vkey) for data in entries for vkey in _log_keys(data, keys[0].name)]
    cosignatures(note, [key for key in named if isinstance(key, CosignatureVerifier)])  # if any, it must hold
    if beliefs.policy is not None:
        policy = attested.read_policy("the policy given", beliefs.policy, [*keys, *named])
        if not policy.satisfied(attested.cosigned(note, policy)):
            yield "cosignatures by as many witnesses as the policy asks for are missing"
    anchored = [name for name in files if members.is_anchor(name)]
    if beliefs.earlier or anchored:
        log = _read(files, open_checkpoint(note, keys), earlier.sizes(beliefs.earlier))
        if anchored:
            yield from anchors.check(files, log.head, [*keys, *named], log.roots, beliefs)
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
    nodes: _Nodes = {}
    for index in members.entry_indexes(files):
        receipt = decode_proof(files[members.entry_name(index)])
        entry = receipt.entry
        leaves[index] = nodes[index, index + 1] = leaf_hash(entry)
        nodes |= _beside(index, head.size, receipt.proof)
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
    for size in sizes - roots.keys():
        root = _fold(0, size, nodes) if 0 < size < head.size else None
        if root is not None:
            roots[size] = root
    return _Log(head=head, leaves=leaves, named=named, roots=roots)


def _beside(index: int, size: int, proof: Sequence[bytes]) -> _Nodes:
    """Return the hashes that a verified inclusion proof holds, by their places."""
    start, end, nodes = 0, size, _Nodes()
    for node in reversed(proof):
        middle = start + _half(end - start)
        nodes[(middle, end) if index < middle else (start, middle)] = node
        start, end = (start, middle) if index < middle else (middle, end)
    return nodes


def _fold(start: int, end: int, nodes: _Nodes) -> bytes | None:
    """Return the root over these entries, None where the nodes do not lead to it."""
    if (start, end) in nodes or end - start == 1:
        return nodes.get((start, end))
    middle = start + _half(end - start)
    left = _fold(start, middle, nodes)
    right = None if left is None else _fold(middle, end, nodes)
    return None if left is None or right is None else node_hash(left, right)


def _half(count: int) -> int:
    """Return the largest power of two below a count of two or more."""
    return 1 << ((count - 1).bit_length() - 1)
