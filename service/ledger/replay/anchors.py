"""What others said about the log, as a bundle carries it: the ends of a bracket, and time stamps.

Pure. Each end is a checkpoint that the log signed, with a proof that it is part of the bundle's; each time
stamp is over one of these checkpoints.
"""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence

from service.errors import Tampered
from service.ledger import members, quorum
from service.ledger.merkle import verify_consistency
from service.ledger.note import Verifies
from service.ledger.proof import Checkpoint
from service.ledger.replay import attested, earlier
from service.ledger.replay.attested import Stamped
from service.ledger.replay.earlier import Earlier
from service.ledger.replay.judge import Beliefs


def check(
    files: Mapping[str, bytes],
    head: Checkpoint,
    logs: Sequence[Verifies],
    roots: MutableMapping[int, bytes],
    beliefs: Beliefs,
) -> Iterator[str]:
    """Yield what is missing; `Tampered` at what contradicts. Adds to `roots` those that are shown.

    `logs` are all keys that this log had. Lines by witnesses are checked where the auditor names witnesses.
    """
    policy = None if beliefs.policy is None else quorum.decode(beliefs.policy)
    for role in members.bracket_roles(files):
        yield from _check_end(files, role, head, logs, roots, policy)
    for stem in members.stamp_stems(files):
        names = [members.stamp_name(stem, ending) for ending in ("checkpoint", "tsr", "pem")]
        absent = [name for name in names if name not in files]
        yield from (f"{name} is missing" for name in absent)
        if not absent:
            note, reply, chain = (files[name] for name in names)
            attested.require_stamp(Stamped(name=names[1], note=note, reply=reply, chain=chain), beliefs.roots)
            for then in earlier.open_notes(earlier.read(names[0], note), logs, head.origin):
                if not earlier.require_root(names[0], then, roots):
                    yield f"what shows that {names[0]} is part of this log is missing"


def _check_end(  # noqa: PLR0917  # as `check`, for one end
    files: Mapping[str, bytes],
    role: str,
    head: Checkpoint,
    logs: Sequence[Verifies],
    roots: MutableMapping[int, bytes],
    policy: quorum.LogPolicy | None,
) -> Iterator[str]:
    names = [members.bracket_name(role, ending) for ending in ("checkpoint", "consistency")]
    absent = [name for name in names if name not in files]
    yield from (f"{name} is missing" for name in absent)
    if absent:
        return
    note, path = files[names[0]], members.parse_path(files[names[1]])
    (then,) = earlier.open_notes(Earlier(name=names[0], notes=(note,)), logs, head.origin)
    if not then.size or not verify_consistency(then.size, head.size, then.root, head.root, path):
        raise Tampered(f"{names[1]}: it does not show that this checkpoint is part of the log")
    roots[then.size] = then.root
    if policy is not None:
        attested.cosigned(note, policy)
