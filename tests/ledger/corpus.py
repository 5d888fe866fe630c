"""What can be wrong with evidence, case by case, with the verdict that any honest verifier must reach.

Each case is made from a sound export (`grown.py`) or a sound bundle (`evidence.py`), and says which files
an auditor has. `tests/ledger/test_corpus.py` hands all of them to both verifiers.
"""

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.message import EmailMessage

from service.ledger import archive, bundle, members, merkle, proof
from service.ledger.note import Signer
from service.ledger.tiles import decode_entries, encode_entries
from tests.ledger import evidence, grown
from tests.ledger.evidence import INGEST, LOG, ORIGIN, WHEN
from tests.ledger.grown import NEXT, SECOND, STRANGER, checkpoint, entries, event, export

GOOD, BAD, INCOMPLETE = "good", "bad", "incomplete"

Files = dict[str, bytes]


@dataclass(frozen=True)
class Case:
    """The evidence: files of an export, or the bytes of a bundle; what was kept, and what is believed."""

    name: str
    expected: str
    evidence: Files | bytes
    key: str = LOG.vkey
    kept: Mapping[str, bytes] = field(default_factory=dict)
    policy: bytes | None = None


CASES: list[Case] = []
SOUND = export(entries())
LAST = "tile/entries/002.p/188"
OTHER_LOG = Signer("ledger.example/other-1", bytes([1]) * 32)
WITNESSED = f"log {LOG.vkey}\nwitness W {grown.witness_vkey()}\nquorum W\n".encode()


def case(expected: str, **beside: object) -> Callable[[Callable[[Files], None]], None]:
    """Add the sound export as the decorated function changes it."""

    def add(change: Callable[[Files], None]) -> None:
        files = dict(SOUND)
        change(files)
        CASES.append(Case(_sentence(change), expected, files, **beside))  # type: ignore[arg-type]

    return add


def log_case(expected: str) -> Callable[[Callable[[], Files]], None]:
    """Add the export that the decorated function makes anew, as an operator who cheats would."""

    def add(make: Callable[[], Files]) -> None:
        CASES.append(Case(_sentence(make), expected, make()))

    return add


def bundle_case(expected: str, **beside: object) -> Callable[[Callable[[], bytes]], None]:
    """Add the bundle that the decorated function makes."""

    def add(make: Callable[[], bytes]) -> None:
        CASES.append(Case(_sentence(make), expected, make(), **beside))  # type: ignore[arg-type]

    return add


def _sentence(function: Callable[..., object]) -> str:
    return function.__name__.strip("_").replace("_", " ")


def flip(data: bytes, position: int, mask: int = 1) -> bytes:
    """One bit turned."""
    changed = bytearray(data)
    changed[position] ^= mask
    return bytes(changed)


def swap(items: list[bytes], left: int, right: int) -> list[bytes]:
    """Two things in each other's place."""
    changed = list(items)
    changed[left], changed[right] = items[right], items[left]
    return changed


def head(size: str, root: str = "") -> bytes:
    """A checkpoint that the log signed although it is not written as a checkpoint is."""
    text = SOUND["checkpoint"].decode().split("\n")
    return LOG.sign(f"{ORIGIN}\n{size}\n{root or text[2]}\n".encode())


def tile(files: Files, path: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the list of entries in a tile."""
    width = int(path.partition(".p/")[2] or 256)
    files[path] = encode_entries(change(decode_entries(files[path], width)))


# Exports: what is changed afterwards


@case(GOOD)
def a_sound_export(files: Files) -> None:
    assert files


@case(GOOD)
def an_auditors_own_file_beside_the_log_and_what_a_crash_left(files: Files) -> None:
    files["notes.txt"] = b"mine"
    files["tile/0/.002.new"] = b"half"


FLIPS = {
    "in_the_line_of_an_entry": ("tile/entries/000", 700),
    "in_the_signature_of_an_entry": (LAST, -20),
    "in_the_length_of_an_entry": ("tile/entries/001", 1),
    "in_a_full_hash_tile": ("tile/0/000", 4000),
    "in_a_partial_hash_tile": ("tile/0/002.p/188", 0),
    "in_a_tile_of_level_1": ("tile/1/000.p/2", 40),
    "in_the_size": ("checkpoint", len(ORIGIN) + 1),
    "in_the_root": ("checkpoint", len(ORIGIN) + 9),
    "in_the_signature_of_the_checkpoint": ("checkpoint", len(ORIGIN) * 2 + 90),
    "in_the_ML_DSA_line": ("checkpoint", -900),
    "in_the_key_list": ("keys.txt", -30),
    "in_the_policy": ("policy.txt", -60),
}
for _where, (_path, _position) in FLIPS.items():
    _changed = {**SOUND, _path: flip(SOUND[_path], _position)}
    CASES.append(Case(f"a flipped bit {_where.replace('_', ' ')}", BAD, _changed))

for _path in ("tile/entries/001", LAST, "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2", "checkpoint"):
    _changed = {**SOUND, _path: SOUND[_path][:-10]}
    CASES.append(Case(f"a truncated file {_path}", BAD, _changed))
    _changed = {**SOUND, _path: b""}
    CASES.append(Case(f"an empty file {_path}", BAD, _changed))

for _path in ("checkpoint", "tile/entries/000", "tile/entries/001", LAST, "tile/0/000", "tile/1/000.p/2"):
    _changed = {path: data for path, data in SOUND.items() if path != _path}
    CASES.append(Case(f"a missing file {_path}", INCOMPLETE, _changed))
for _path in ("policy.txt", "keys.txt"):
    _changed = {path: data for path, data in SOUND.items() if path != _path}
    CASES.append(Case(f"a missing file {_path}", INCOMPLETE, _changed))
_changed = {
    path: data for path, data in SOUND.items() if path not in {"tile/entries/000", "tile/entries/001"}
}
CASES.append(
    Case("missing entries and a flipped bit elsewhere", BAD, {**_changed, LAST: flip(SOUND[LAST], 700)})
)


@case(BAD)
def two_entries_swapped(files: Files) -> None:
    tile(files, "tile/entries/001", lambda items: swap(items, 6, 7))


@case(BAD)
def two_entries_swapped_with_their_hashes(files: Files) -> None:
    tile(files, "tile/entries/001", lambda items: swap(items, 6, 7))
    data = files["tile/0/001"]
    files["tile/0/001"] = data[:192] + data[224:256] + data[192:224] + data[256:]


@case(BAD)
def the_last_entry_dropped_from_its_file(files: Files) -> None:
    tile(files, LAST, lambda items: items[:-1])
    files["tile/0/002.p/188"] = files["tile/0/002.p/188"][:-32]


@case(INCOMPLETE)
def the_tail_dropped_with_its_files(files: Files) -> None:
    for path in (LAST, "tile/0/002.p/188"):
        del files[path]
    shorter = export(entries()[:650])
    files.update({path: shorter[path] for path in ("tile/entries/002.p/138", "tile/0/002.p/138")})


@case(BAD)
def another_persons_entry_in_place_of_one(files: Files) -> None:
    tile(files, "tile/entries/000", lambda items: [*items[:9], items[10], *items[10:]])


@case(BAD)
def bytes_after_the_last_entry(files: Files) -> None:
    files[LAST] += b"\0"


@case(BAD)
def a_partial_tile_under_another_width(files: Files) -> None:
    files["tile/0/002.p/187"] = files.pop("tile/0/002.p/188")


@case(BAD)
def a_tile_of_one_hash_at_the_path_of_a_full_one(files: Files) -> None:
    files["tile/0/002"] = files["tile/0/002.p/188"][:32]


@case(BAD)
def a_strange_name_among_the_tiles(files: Files) -> None:
    files["tile/0/000.bak"] = b"?"


@case(BAD)
def a_width_with_a_leading_zero(files: Files) -> None:
    files["tile/0/000.p/08"] = files["tile/0/000"][:256]


@case(BAD)
def a_partial_tile_as_wide_as_a_full_one(files: Files) -> None:
    files["tile/0/000.p/256"] = files["tile/0/000"]


@case(GOOD)
def partial_tiles_of_an_earlier_size(files: Files) -> None:
    files["tile/0/001.p/44"] = files["tile/0/001"][: 44 * 32]
    files["tile/entries/001.p/44"] = encode_entries(entries()[256:300])


@case(BAD)
def a_partial_tile_of_an_earlier_size_with_another_hash(files: Files) -> None:
    files["tile/0/001.p/44"] = flip(files["tile/0/001"][: 44 * 32], 7)


@case(BAD)
def a_partial_tile_of_an_earlier_size_with_another_entry(files: Files) -> None:
    files["tile/entries/001.p/44"] = encode_entries([*entries()[256:299], entries()[301]])


@case(GOOD)
def an_export_that_was_interrupted_while_it_grew(files: Files) -> None:
    files["checkpoint"] = checkpoint(entries()[:650])
    shorter = export(entries()[:650])
    files.update({path: shorter[path] for path in ("tile/entries/002.p/138", "tile/0/002.p/138")})


@case(GOOD)
def full_tiles_in_place_of_the_partial_ones_that_were_dropped(files: Files) -> None:
    files.clear()
    files.update(export(entries()))
    files["checkpoint"] = checkpoint(entries()[:450])
    files["tile/1/000.p/1"] = files.pop("tile/1/000.p/2")[:32]


@case(BAD)
def a_file_of_another_log(files: Files) -> None:
    strange = [event(index, bytes([1]) * 32, INGEST) for index in range(256, 512)]
    files["tile/entries/001"] = encode_entries(strange)


@case(BAD)
def a_checkpoint_of_another_origin(files: Files) -> None:
    found = merkle.root(700, evidence.grow(entries()).read)
    files["checkpoint"] = proof.sign_checkpoint(proof.Checkpoint(OTHER_LOG.name, 700, found), OTHER_LOG)


@case(BAD)
def windows_line_ends_in_the_checkpoint(files: Files) -> None:
    files["checkpoint"] = files["checkpoint"].replace(b"\n", b"\r\n")


@case(BAD)
def windows_line_ends_in_the_policy(files: Files) -> None:
    files["policy.txt"] = files["policy.txt"].replace(b"\n", b"\r\n")


@case(BAD)
def a_blank_line_in_the_checkpoint(files: Files) -> None:
    files["checkpoint"] = files["checkpoint"].replace(b"\n700\n", b"\n\n700\n")


@case(BAD)
def a_blank_line_between_signatures(files: Files) -> None:
    files["checkpoint"] = "\n\n— ".join(files["checkpoint"].decode().split("\n— ")).encode()


@case(BAD)
def a_size_with_a_leading_zero(files: Files) -> None:
    files["checkpoint"] = head("0700")


@case(BAD)
def a_root_in_base64_that_is_not_canonical(files: Files) -> None:
    root = files["checkpoint"].decode().split("\n")[2]
    files["checkpoint"] = head("700", root[:-2] + chr(ord(root[-2]) + 1) + "=")


@case(BAD)
def a_size_with_a_sign(files: Files) -> None:
    files["checkpoint"] = head("+700")


@case(BAD)
def a_size_that_the_log_forged_downwards(files: Files) -> None:
    files["checkpoint"] = checkpoint(entries(), size=699)
    shorter = export(entries()[:699])
    files.update({path: shorter[path] for path in ("tile/entries/002.p/187", "tile/0/002.p/187")})


@case(INCOMPLETE)
def a_size_that_the_log_forged_upwards(files: Files) -> None:
    files["checkpoint"] = checkpoint(entries(), size=701)


@case(BAD)
def an_old_root_under_the_new_size(files: Files) -> None:
    files["checkpoint"] = checkpoint(entries(), root=evidence.grow(entries()[:699]).edge.root())


@case(BAD)
def a_root_over_a_duplicated_last_node(files: Files) -> None:
    row = [merkle.leaf_hash(data) for data in entries()]
    while len(row) > 1:
        row += row[-1:] * (len(row) % 2)
        row = [merkle.node_hash(*row[at : at + 2]) for at in range(0, len(row), 2)]
    files["checkpoint"] = checkpoint(entries(), root=row[0])


@case(INCOMPLETE)
def a_checkpoint_without_its_line_for_later_years(files: Files) -> None:
    files["checkpoint"] = "\n— ".join(files["checkpoint"].decode().split("\n— ")[:2]).encode() + b"\n"


@case(BAD)
def a_strangers_key_in_the_key_list(files: Files) -> None:
    files["keys.txt"] += f"entry {STRANGER.vkey}\n".encode()


@case(BAD)
def a_policy_that_believes_another_log(files: Files) -> None:
    files["policy.txt"] = f"log {OTHER_LOG.vkey}\nquorum none\n".encode()


@case(BAD)
def a_policy_without_a_quorum(files: Files) -> None:
    files["policy.txt"] = f"log {LOG.vkey}\n".encode()


@case(BAD, key=Signer(ORIGIN, bytes([8]) * 32).vkey)
def another_key_of_the_same_name(files: Files) -> None:
    assert files


@case(BAD, key=OTHER_LOG.vkey)
def the_same_key_under_another_name(files: Files) -> None:
    assert files


# Exports: witnesses, and what was kept


@case(GOOD)
def a_checkpoint_that_the_witness_cosigned(files: Files) -> None:
    files["policy.txt"] = WITNESSED
    files["checkpoint"] = grown.cosign(files["checkpoint"])


@case(INCOMPLETE)
def a_checkpoint_that_the_witness_did_not_cosign(files: Files) -> None:
    files["policy.txt"] = WITNESSED


@case(INCOMPLETE, policy=WITNESSED)
def a_checkpoint_without_the_witness_that_the_auditor_believes(files: Files) -> None:
    assert files


@case(BAD)
def a_cosignature_over_another_checkpoint(files: Files) -> None:
    files["policy.txt"] = WITNESSED
    line = grown.cosign(checkpoint(entries()[:650])).rpartition(b"\n\xe2\x80\x94 ")
    files["checkpoint"] += line[1][1:] + line[2]


def receipt(log: tuple[bytes, ...], index: int, size: int) -> bytes:
    """What somebody got when the log had `size` entries."""
    tree = evidence.grow(log[:size])
    path = tuple(merkle.inclusion_proof(index, size, tree.read))
    note = proof.sign_checkpoint(proof.Checkpoint(ORIGIN, size, tree.edge.root()), LOG)
    return proof.encode_proof(proof.Receipt(index, log[index], path, note))


def mail(note: bytes) -> bytes:
    """The nightly report with a checkpoint attached."""
    message = EmailMessage()
    message["From"], message["Subject"] = "ledger@example.org", "Drift"
    message.set_content("Nothing drifted.")
    message.add_attachment(note, "application", "octet-stream", filename="checkpoint-2026-03-01.txt")
    return bytes(message)


REWRITTEN = (*entries()[:500], event(500, bytes(32), SECOND), *entries()[501:])


@case(GOOD, kept={"old": checkpoint(entries()[:513]), "new": checkpoint(entries()), "none": checkpoint([])})
def earlier_checkpoints_that_the_log_continues(files: Files) -> None:
    assert files


@case(
    GOOD, kept={"a.tlog-proof": receipt(entries(), 411, 530), "night.eml": mail(checkpoint(entries()[:256]))}
)
def a_receipt_and_a_nightly_mail_that_the_log_continues(files: Files) -> None:
    assert files


@case(BAD, kept={"old": checkpoint(REWRITTEN[:600])})
def an_entry_rewritten_since_a_checkpoint(files: Files) -> None:
    assert files


@case(BAD, kept={"night.eml": mail(checkpoint(REWRITTEN))})
def a_fork_of_the_same_size_in_a_nightly_mail(files: Files) -> None:
    assert files


@case(BAD, kept={"a.tlog-proof": receipt(REWRITTEN, 500, 501)})
def a_receipt_for_an_entry_that_is_another_one_now(files: Files) -> None:
    assert files


@case(BAD, kept={"a.tlog-proof": receipt(entries(), 411, 530).replace(b"index 411", b"index 410")})
def a_receipt_that_does_not_hold_by_itself(files: Files) -> None:
    assert files


@case(BAD, kept={"newer": checkpoint([*entries(), event(700, bytes(32), SECOND)])})
def a_stale_checkpoint(files: Files) -> None:
    assert files


@case(
    BAD,
    kept={
        "other": OTHER_LOG.sign(
            f"{OTHER_LOG.name}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".encode()
        )
    },
)
def an_earlier_checkpoint_of_another_log(files: Files) -> None:
    assert files


@case(BAD, kept={"note.eml": b"From: a@example.org\n\nno checkpoint here\n"})
def a_mail_without_a_checkpoint(files: Files) -> None:
    assert files


# Exports: what the operator did before signing


def cheat(index: int, data: bytes) -> Files:
    """The export of a log that has another entry at one place, all hashes and signatures made anew."""
    return export([*entries()[:index], data, *entries()[index + 1 :]])


@log_case(BAD)
def an_entry_signed_by_an_unknown_key() -> Files:
    return cheat(650, event(650, bytes(32), STRANGER))


@log_case(BAD)
def an_entry_signed_by_a_key_before_the_log_named_it() -> Files:
    return cheat(350, event(350, bytes(32), SECOND))


@log_case(BAD)
def an_epoch_that_hides_an_entry() -> Files:
    log = entries()
    return cheat(300, grown.epoch([*log[:290], event(0, bytes(32), INGEST), *log[291:298]], 300, INGEST))


@log_case(BAD)
def an_epoch_under_another_directory_key() -> Files:
    strange = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    return cheat(600, grown.epoch(entries()[:598], 600, SECOND, dkc=strange))


@log_case(BAD)
def an_epoch_over_entries_that_came_after_it() -> Files:
    return cheat(600, grown.epoch(entries()[:598], 600, SECOND, n=601))


@log_case(BAD)
def an_epoch_that_counts_one_person_less() -> Files:
    return cheat(600, grown.epoch(entries()[:598], 600, SECOND, ss=3))


@log_case(BAD)
def a_directory_row_opened_twice() -> Files:
    return cheat(645, grown.opened(645, 2, SECOND))


@log_case(BAD)
def an_entry_received_half_a_minute_before_its_neighbour() -> Files:
    return cheat(256, event(256, bytes(32), INGEST, late_s=32))


@log_case(GOOD)
def entries_in_a_little_disorder() -> Files:
    return export([*entries()[:650], event(650, bytes(32), SECOND, late_s=20)])


@log_case(BAD)
def a_second_genesis() -> Files:
    return cheat(640, grown.genesis())


@log_case(BAD)
def a_log_without_genesis() -> Files:
    return export(entries()[1:200])


@log_case(BAD)
def a_log_that_began_under_another_name() -> Files:
    return export([grown.genesis(origin="ledger.example/test-2")])


@log_case(BAD)
def a_genesis_that_names_a_key_of_another_log() -> Files:
    return export([grown.genesis(ingest=[OTHER_LOG.vkey])])


def handed_over(*signers: Signer, to: Signer = NEXT) -> Files:
    """An export whose checkpoint only the next key signed, and whose handover these signed."""
    log = [*entries()[:640], grown.handover(640, *signers, to=to), *entries()[641:]]
    return export(log, note=checkpoint(log, log=NEXT))


@log_case(GOOD)
def a_log_whose_key_was_handed_over() -> Files:
    return handed_over(SECOND, LOG, NEXT)


@log_case(BAD)
def a_log_whose_key_was_changed_without_the_old_one() -> Files:
    return handed_over(SECOND, NEXT)


@log_case(BAD)
def a_log_whose_key_was_handed_over_to_nobody() -> Files:
    return handed_over(SECOND, LOG)


@log_case(BAD)
def a_log_whose_key_was_handed_over_to_another_one() -> Files:
    return handed_over(SECOND, LOG, STRANGER, to=STRANGER)


@log_case(GOOD)
def a_log_whose_policy_names_its_newer_key_while_checkpoints_carry_both() -> Files:
    log = [*entries()[:640], grown.handover(640, SECOND, LOG, NEXT), *entries()[641:]]
    files = export(log)
    newer = checkpoint(log, log=NEXT).partition(b"\n\n")[2].split(b"\n")[0] + b"\n"
    files["checkpoint"] += newer
    files["policy.txt"] = f"log {NEXT.vkey}\nquorum none\n".encode()
    return files


@log_case(BAD)
def a_genesis_that_names_no_key_for_entries() -> Files:
    return export([grown.genesis(ingest=[])])


def _raw(line: str) -> bytes:
    return INGEST.sign(line.encode() + b"\n")


AT = '"at":"2026-03-01T09:15:00.000Z"'
LINES = {
    "that_is_not_canonical_JSON": f'{{"cat":"access", {AT},"v":1}}',
    "with_its_names_in_another_order": f'{{"v":1,{AT},"cat":"access"}}',
    "with_a_fraction": f'{{{AT},"cat":"access","n":1.5,"v":1}}',
    "with_a_large_number": f'{{{AT},"cat":"access","n":9007199254740992,"v":1}}',
    "with_a_name_twice": f'{{{AT},{AT},"cat":"access","v":1}}',
    "of_another_version": f'{{{AT},"cat":"access","v":2}}',
    "of_version_true": f'{{{AT},"cat":"access","v":true}}',
    "without_a_time": '{"cat":"access","v":1}',
    "with_a_time_that_never_was": '{"at":"2026-02-30T09:15:00.000Z","cat":"access","v":1}',
    "with_a_time_in_another_zone": '{"at":"2026-03-01T09:15:00.000+01:00","cat":"access","v":1}',
    "with_a_short_subject": f'{{{AT},"cat":"access","sub":"AAAA","v":1}}',
    "with_a_subject_that_is_not_canonical": f'{{{AT},"cat":"access","sub":"{"A" * 42}B=","v":1}}',
    "with_a_counter_of_nobody": f'{{{AT},"cat":"access","srcn":1,"v":1}}',
    "with_a_category_that_is_none": f'{{{AT},"cat":"Access","v":1}}',
    "with_a_strange_name": f'{{"At":1,{AT},"cat":"access","v":1}}',
    "that_is_a_list": "[]",
    "that_is_no_JSON": "{",
}
for _what, _line in LINES.items():
    CASES.append(Case(f"an entry {_what.replace('_', ' ')}", BAD, export([grown.genesis(), _raw(_line)])))
_plain_line = f'{{{AT},"cat":"access","deep":{{"n":[1,-2,true,null,"ü/\\n"]}},"v":1}}'
CASES.append(Case("an entry with a nested value", GOOD, export([grown.genesis(), _raw(_plain_line)])))
_deep = f'{{{AT},"cat":"access","n":{"[" * 40}{"]" * 40},"v":1}}'
CASES.append(Case("an entry nested too deep", BAD, export([grown.genesis(), _raw(_deep)])))


# Bundles

GENESIS = grown.genesis()
SMALL = bundle.write(evidence.small(GENESIS), LOG)
WHOLE = bundle.write(evidence.complete(GENESIS), LOG)


def without(data: bytes, *names: str) -> bytes:
    """The bundle without some of its members, packed as it was."""
    files = archive.unpack(data)
    return archive.pack({name: content for name, content in files.items() if name not in names})


def signed_again(data: bytes, **changes: bytes | None) -> bytes:
    """The bundle after its operator changed members (None: left out) and signed the list of them again."""
    files = {**archive.unpack(data), **changes}
    kept = {name: content for name, content in files.items() if content is not None and name != "manifest"}
    return archive.pack({**kept, "manifest": LOG.sign(members.manifest_text(ORIGIN, kept))})


@bundle_case(GOOD)
def a_sound_bundle() -> bytes:
    return SMALL


@bundle_case(GOOD)
def a_sound_bundle_that_shows_that_nothing_was_left_out() -> bytes:
    return WHOLE


for _number in range(1, 16):
    _position = len(WHOLE) * _number // 16
    CASES.append(Case(f"a bundle with a flipped bit at {_number}/16", BAD, flip(WHOLE, _position)))
for _name in ("manifest", "checkpoint", "README.txt", "history.json", "question.json"):
    _changed = {**archive.unpack(SMALL), _name: flip(archive.unpack(SMALL)[_name], 5)}
    CASES.append(Case(f"a bundle whose {_name} was changed", BAD, archive.pack(_changed)))
    CASES.append(Case(f"a bundle without its {_name}", INCOMPLETE, without(SMALL, _name)))
CASES.extend(
    Case(f"a bundle without {_name}", INCOMPLETE, without(SMALL, _name))
    for _name in ("entries/0.tlog-proof", "entries/5.tlog-proof", "disclosures/5.json")
)
CASES.append(
    Case("a bundle without its evidence of completeness", INCOMPLETE, without(WHOLE, "completeness.json"))
)
CASES.append(Case("a bundle cut short", BAD, SMALL[:-30]))
CASES.append(Case("a bundle that is empty", BAD, b""))
CASES.append(Case("a bundle with bytes before it", BAD, b"x" + SMALL))
CASES.append(Case("a bundle with bytes after it", BAD, SMALL + b"x"))


@bundle_case(BAD)
def a_bundle_packed_again_by_another_program() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in archive.unpack(SMALL).items():
            file.writestr(name, content)
    return out.getvalue()


@bundle_case(BAD)
def a_bundle_with_a_member_too_many() -> bytes:
    return archive.pack({**archive.unpack(SMALL), "letter.txt": b"believe me"})


@bundle_case(BAD)
def a_bundle_with_an_entry_that_the_manifest_does_not_name() -> bytes:
    files = archive.unpack(SMALL)
    return archive.pack({**files, "entries/1.tlog-proof": files["entries/2.tlog-proof"]})


@bundle_case(BAD)
def a_bundle_with_two_disclosures_swapped() -> bytes:
    files = archive.unpack(SMALL)
    names = {"disclosures/2.json": "disclosures/5.json", "disclosures/5.json": "disclosures/2.json"}
    return signed_again(SMALL, **{name: files[other] for name, other in names.items()})


@bundle_case(BAD)
def a_bundle_with_a_disclosed_value_changed() -> bytes:
    data = archive.unpack(SMALL)["disclosures/5.json"]
    return signed_again(SMALL, **{"disclosures/5.json": data.replace(b"Ana@Example.org", b"Eve@Example.org")})


@bundle_case(BAD)
def a_bundle_about_another_address() -> bytes:
    return bundle.write(replace(evidence.small(GENESIS), address="eve@example.org"), LOG)


@bundle_case(BAD)
def a_bundle_with_another_persons_entry() -> bytes:
    made = {
        0: GENESIS,
        2: evidence.opened_entry(),
        5: evidence.event_entry(subject=bytes([9]) * 32),
    }
    return bundle.write(evidence.assemble(made, {2: evidence.DIRECTORY}), LOG)


@bundle_case(BAD)
def a_bundle_with_an_entry_signed_by_a_stranger() -> bytes:
    made = {
        0: GENESIS,
        2: evidence.opened_entry(),
        5: evidence.event_entry(key=STRANGER),
    }
    return bundle.write(evidence.assemble(made, {2: evidence.DIRECTORY}), LOG)


@bundle_case(BAD)
def a_bundle_with_an_entry_signed_by_a_key_before_the_log_named_it() -> bytes:
    made = {
        0: GENESIS,
        2: evidence.opened_entry(),
        5: evidence.event_entry(key=SECOND),
        6: grown.rotated(6),
    }
    return bundle.write(evidence.assemble(made, {2: evidence.DIRECTORY}), LOG)


@bundle_case(BAD)
def a_bundle_whose_proof_is_that_of_another_entry() -> bytes:
    sound = evidence.small(GENESIS)
    items = list(sound.items)
    items[2] = replace(items[2], proof=items[1].proof)
    return bundle.write(replace(sound, items=tuple(items)), LOG)


@bundle_case(INCOMPLETE)
def a_bundle_that_does_not_show_whom_its_entries_are_about() -> bytes:
    made = {0: GENESIS, 5: evidence.event_entry()}
    return bundle.write(evidence.assemble(made, {}), LOG)


@bundle_case(BAD)
def a_bundle_whose_epoch_is_withheld() -> bytes:
    return signed_again(WHOLE, **{"entries/3.tlog-proof": None})


@bundle_case(BAD)
def a_bundle_whose_last_event_is_withheld() -> bytes:
    return signed_again(WHOLE, **{"entries/2.tlog-proof": None, "disclosures/2.json": None})


@bundle_case(BAD)
def a_bundle_whose_tail_lacks_an_entry() -> bytes:
    sound = evidence.complete(GENESIS)
    assert sound.completeness is not None
    shown = replace(sound.completeness, tail=sound.completeness.tail[:-1])
    return bundle.write(replace(sound, completeness=shown), LOG)


@bundle_case(BAD)
def a_bundle_with_another_directory_key() -> bytes:
    sound = evidence.complete(GENESIS)
    assert sound.completeness is not None
    return bundle.write(
        replace(sound, completeness=replace(sound.completeness, directory_key=bytes([1]) * 32)), LOG
    )


@bundle_case(BAD)
def a_bundle_that_says_that_the_address_is_unknown() -> bytes:
    sound = evidence.complete(GENESIS)
    assert sound.completeness is not None
    shown = replace(sound.completeness, versions=(), subjects=())
    return bundle.write(replace(sound, completeness=shown), LOG)


@bundle_case(BAD)
def a_bundle_whose_index_counts_another_position() -> bytes:
    sound = evidence.complete(GENESIS)
    assert sound.completeness is not None
    row = replace(sound.completeness.versions[0], position=1)
    return bundle.write(replace(sound, completeness=replace(sound.completeness, versions=(row,))), LOG)


@bundle_case(BAD, key=Signer(ORIGIN, bytes([8]) * 32).vkey)
def a_bundle_checked_with_another_key() -> bytes:
    return SMALL


@bundle_case(BAD)
def a_bundle_whose_manifest_has_windows_line_ends() -> bytes:
    files = archive.unpack(SMALL)
    return archive.pack({**files, "manifest": files["manifest"].replace(b"\n", b"\r\n")})


@bundle_case(BAD)
def a_bundle_whose_manifest_has_a_second_signature() -> bytes:
    files = archive.unpack(SMALL)
    line = STRANGER.sign(b"x\n").rpartition(b"\n\n")[2]
    return archive.pack({**files, "manifest": files["manifest"] + line})


@bundle_case(BAD)
def a_bundle_with_the_checkpoint_of_another_log() -> bytes:
    made = OTHER_LOG.sign(f"{OTHER_LOG.name}\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".encode())
    return signed_again(SMALL, checkpoint=made)


@bundle_case(GOOD, kept={"same": evidence.small(GENESIS).checkpoint_note})
def a_bundle_beside_the_checkpoint_of_the_same_size() -> bytes:
    return SMALL


@bundle_case(
    INCOMPLETE,
    kept={"old": LOG.sign(f"{ORIGIN}\n8\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".encode())},
)
def a_bundle_beside_a_checkpoint_that_it_cannot_be_compared_with() -> bytes:
    return SMALL


@bundle_case(
    BAD, kept={"fork": LOG.sign(f"{ORIGIN}\n3\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".encode())}
)
def a_bundle_whose_proofs_show_another_history_than_was_signed_earlier() -> bytes:
    return SMALL


@bundle_case(
    BAD, kept={"fork": LOG.sign(f"{ORIGIN}\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".encode())}
)
def a_bundle_of_a_fork() -> bytes:
    return SMALL


@bundle_case(
    GOOD,
    kept={
        "tail": evidence.assemble(
            dict(enumerate(i.entry for i in evidence.complete(GENESIS).items)), {}, size=4
        ).checkpoint_note
    },
)
def a_bundle_whose_tail_runs_through_an_earlier_checkpoint() -> bytes:
    return WHOLE


assert WHEN  # the moment at which every log here begins
