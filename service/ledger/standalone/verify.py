#!/usr/bin/env python3
"""Check a consent ledger's evidence with nothing but the log's public key. One file, on purpose.

WHAT is a bundle (zip) or an export's folder; --since a checkpoint, receipt, bundle, export or nightly mail.
Prints `good`, `bad` or `incomplete` with the first reason and exits with 0, 1 or 2 (64: nothing was checked).
Needs Python 3.11, `cryptography` 48 and, for an export, 400 bytes of memory per entry. Shares no code.
"""
import argparse, base64, email, hashlib, hmac, io, json, re, sys, unicodedata, zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime; from pathlib import Path; from typing import Any, NamedTuple, NoReturn
from cryptography import x509; from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.x509 import DuplicateExtension, InvalidVersion, oid, verification as chains
Key = NamedTuple("Key", [("name", str), ("id", bytes), ("kind", int), ("public", bytes)])
Note = NamedTuple("Note", [("text", bytes), ("lines", list[tuple[tuple[str, bytes], bytes]])])
Receipt = NamedTuple("Receipt", [("index", int), ("entry", bytes), ("path", list[bytes]), ("note", bytes)])
List = NamedTuple("List", [("size", int), ("root", bytes)])  # a sorted list of rows, as an epoch states it
Epoch = NamedTuple("Epoch", [("covered", int), ("persons", List), ("rows", List), ("key", bytes)])
Der = NamedTuple("Der", [("tag", int), ("content", bytes), ("whole", bytes)])
ED25519, COSIGNED, MLDSA, KEY_BYTES = 1, 4, 6, {1: 33, 4: 33, 6: 1313}  # types of keys; bytes with the type
EMPTY, WIDTH, ENTRIES, LATEST = hashlib.sha256(b"").digest(), 256, -1, 253_402_300_799  # the end of year 9999
NUMBER, NAME, WORD = "(0|[1-9][0-9]{0,18})", re.compile(r"[^\s+\x00-\x1f]+"), re.compile("[a-z0-9_.]+")
PROOF, OPENED, COMPLETE = "entries/{}.tlog-proof", "disclosures/{}.json", "completeness.json"
NEEDED = ("manifest", "checkpoint", "question.json", PROOF.format(0), "history.json", "README.txt")
ANCHOR = r"bracket/(before|after)\.(checkpoint|consistency)|tsr/[A-Za-z0-9.-]+\.(checkpoint|tsr|pem)"
RECEIPT = rf"c2sp\.org/tlog-proof@v1\nextra (\S*)\nindex {NUMBER}\n((?:[^\n]+\n){{0,63}})\n(.*)".encode()
TILE = re.compile(r"^tile/(-1|[0-9]|[1-5][0-9]|6[0-3])/([x0-9/]+)(?:\.p/([0-9]+))?$")
SIGNED, STAMP, DIGEST = "2a864886f70d010702", "2a864886f70d0109100104", "2a864886f70d010904"  # OIDs in hex
HASHED: dict[str, Any] = {"0201": hashes.SHA256, "0202": hashes.SHA384, "0203": hashes.SHA512}  # ends
JCS = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))
class Bad(ValueError): """What is here contradicts what was signed."""
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, EOFError, zipfile.BadZipFile,
    InvalidSignature, UnsupportedAlgorithm, chains.VerificationError, DuplicateExtension, InvalidVersion)
def require(holds: object, message: str) -> None:
    if not holds: raise Bad(message)
def sha(data: bytes) -> bytes: return hashlib.sha256(data).digest()
def mac(key: bytes, data: bytes) -> bytes: return hmac.digest(key, data, "sha256")
def leaf_hash(entry: bytes) -> bytes: return sha(b"\0" + entry)
def node_hash(left: bytes, right: bytes) -> bytes: return sha(b"\1" + left + right)
def half(size: int) -> int: return 1 << (size - 1).bit_length() - 1
def u64(number: int) -> bytes: return number.to_bytes(8, "big")
def canonical(value: object) -> bytes: return JCS.encode(value).encode()
def text64(data: bytes) -> str: return base64.b64encode(data).decode()
def b64(text: str | bytes, length: int = 0) -> bytes:
    data = base64.b64decode(text, validate=True)
    same = text64(data) == (text if isinstance(text, str) else text.decode())
    require(same and length in {0, len(data)}, "base64 of another form or length"); return data
# Keys, notes, checkpoints and policies: c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature, tlog-policy
def read_key(vkey: str, *kinds: int) -> Key:
    name, key_id, encoded = vkey.split("+", 2); data = b64(encoded)
    key = Key(name, sha(name.encode() + b"\n" + data)[:4], data[0], data[1:])
    fit = NAME.fullmatch(name) and key.kind in kinds and len(data) == KEY_BYTES[key.kind]
    require(fit and key.id.hex() == key_id, f"the key {name} is unfit, or was changed"); return key
def read_note(data: bytes) -> Note:  # its text, which is not yet believed, and its lines by name and key id
    text, gap, rest = data.rpartition(b"\n\n")
    plain = min(data.decode().replace("\n", " ")) >= " " and len(data) <= 1 << 23
    require(plain and gap and rest.endswith(b"\n"), "this is no signed note")
    lines = [line.split(" ", 2) for line in rest.decode()[:-1].split("\n")]
    right = all(dash == "—" and NAME.fullmatch(name) and len(b64(one)) > 4 for dash, name, one in lines)
    require(right and len(lines) <= 64, "a signature line is none, or there are too many")
    return Note(text + b"\n", [((name, b64(one)[:4]), b64(one)[4:]) for _, name, one in lines])
def signed(note: Note, keys: Iterable[Key]) -> bool:  # by one of the keys; all lines by them must hold
    return bool([check(key, note.text, one) for who, one in note.lines for key in keys if key[:2] == who])
def check(key: Key, text: bytes, signature: bytes) -> object:  # raises unless it holds
    stamp, at = signature[:8], int.from_bytes(signature[:8], "big")
    require(key.kind == ED25519 or 0 < at <= LATEST, "a cosignature states no time")
    if key.kind == MLDSA:
        (_, size, root), names = read_head(text), (key.name.encode(), text.partition(b"\n")[0])
        require(text.count(b"\n") == 3, "a line of this type signs plain checkpoints")
        name, origin = (bytes([len(one)]) + one for one in names)
        text = b"subtree/v1\n\0" + name + stamp + origin + u64(0) + u64(size) + root
        return mldsa.MLDSA44PublicKey.from_public_bytes(key.public).verify(signature[8:], text)
    if key.kind == COSIGNED: text, signature = b"cosignature/v1\ntime %d\n" % at + text, signature[8:]
    return ed25519.Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text)
def read_head(text: bytes) -> tuple[str, int, bytes]:  # a checkpoint's origin, size and root
    lines = text.split(b"\n")
    require(len(lines) > 3 and all(lines[:-1]), "a checkpoint has three lines or more, none of them empty")
    require(re.fullmatch(NUMBER.encode(), lines[1]) and int(lines[1]) < 1 << 63, "its size is no number")
    return lines[0].decode(), int(lines[1]), b64(lines[2], 32)
def read_policy(text: bytes, note: Note) -> tuple[list[Key], bool]:  # logs; whether enough witnesses signed
    require(not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", text), "it holds a control character")
    logs, witnesses, once, quorum, holds = list[Key](), list[Key](), ["none"], list[str](), {"none": True}
    for line in text.decode().split("\n"):
        match [word for word in re.split("[ \t]+", line) if word]:
            case ["log", vkey] | ["log", vkey, _]: logs.append(read_key(vkey, ED25519, MLDSA))
            case ["witness", name, vkey] | ["witness", name, vkey, _] if name not in holds:
                witnesses.append(read_key(vkey, COSIGNED, MLDSA)); holds[name] = signed(note, witnesses[-1:])
            case ["group", name, least, *members] if name not in holds:
                needed = {"any": 1, "all": len(members)}.get(least) or int(re.sub("^0|[^0-9]", "-", least))
                require(0 < needed <= len(members), "a group asks for more than it has, or for nobody")
                holds[name], once = sum(holds[one] for one in members) >= needed, once + members
            case ["quorum", name] if name in holds: quorum.append(name)
            case words: require(not words or words[0].startswith("#"), "this is no line of a policy")
    for names in (once, [key.public for key in logs], [key.public for key in witnesses]):
        require(len(names) == len({*names}) and len(quorum) == 1, "it names something twice, or no quorum")
    return logs, holds[quorum[0]]
# Trees (RFC 6962, section 2.1), and the sorted lists that index epochs commit to
def tree(start: int, end: int, leaf: Callable[[int], bytes | None], known: dict[Any, bytes]) -> bytes | None:
    if (start, end) in known: return known[start, end]  # which stands in for what is below it
    if end - start < 2: return leaf(start) if end > start else EMPTY
    middle = start + half(end - start)
    right = (left := tree(start, middle, leaf, known)) and tree(middle, end, leaf, known)
    return node_hash(left, right) if left and right else None  # None where a leaf is missing
def climb(index: int, end: int, leaf: bytes, path: Sequence[bytes], known: Any, at: int = 0) -> bytes:
    require(at <= index < end and bool(path) == (end - at > 1), "a proof is not one of this tree")
    if end - at == 1: return leaf
    known[(middle, end) if index < (middle := at + half(end - at)) else (at, middle)] = path[-1]
    if index < middle: return node_hash(climb(index, middle, leaf, path[:-1], known, at), path[-1])
    return node_hash(path[-1], climb(index, end, leaf, path[:-1], known, middle))
def grown(old: int, size: int, path: Sequence[bytes], whole: bytes, now: int) -> bytes:  # a root, then or now
    require(0 < old <= size and (path if old < size else len(path) == (not whole)), "no proof of consistency")
    if old == size: return whole or path[0]
    left = grown(old, half(size), path[:-1], whole, now) if old <= half(size) else b""
    if left: return node_hash(left, path[-1]) if now else left
    return node_hash(path[-1], grown(old - half(size), size - half(size), path[:-1], b"", now))
def listing(rows: Sequence[bytes]) -> List:
    return List(len(rows), tree(0, len(rows), [leaf_hash(row) for row in rows].__getitem__, {}) or b"")
def read_row(shown: Any, kind: bytes, of: List) -> bytes:  # a row of a list, as its path shows
    row, path, position = b64(shown["row"], 76), [b64(one, 32) for one in shown["path"]], shown["position"]
    require(len(shown) == 3 and type(position) is int and row.startswith(kind), "another form or list")
    require(climb(position, of.size, leaf_hash(row), path, {}) == of.root, "no row of the list"); return row
def is_absent(shown: Any, key: bytes, kind: bytes, of: List) -> bool:  # it would stand between two neighbours
    low, high = (read_row(one, kind, of)[4:36] if one else b"" for one in (shown["left"], shown["right"]))
    first, end = shown["left"]["position"] + 1 if low else 0, shown["right"]["position"] if high else of.size
    require(len(shown) == 2 and first == end and (of.size or of.root == EMPTY), "two rows are no neighbours")
    return low < key and (not high or key < high)
# Entries and receipts
def fits(value: object, depth: int = 32) -> bool:  # small integers, plain names, not nested too deep
    if isinstance(value, dict): return all(map(WORD.fullmatch, value)) and fits([*value.values()], depth)
    if isinstance(value, list): return depth > 0 and all(fits(one, depth - 1) for one in value)
    return not isinstance(value, int) or abs(value) < 1 << 53
def read_json(data: bytes) -> Any:  # an object written in the one allowed way (RFC 8785)
    value = json.loads(data, parse_float=int, parse_constant=int)  # int refuses what they are given
    require(type(value) is dict and fits(value) and canonical(value) == data, "JSON of another form")
    return value
def moment(text: str) -> datetime:
    require(datetime.fromisoformat(text).isoformat(timespec="milliseconds")[:23] + "Z" == text, "no time")
    return datetime.fromisoformat(text)
def read_entry(entry: bytes) -> Any:  # if it is written as here; its signature is another question
    text = read_note(entry).text
    require(len(entry) <= 65_535 and text.count(b"\n") == 1, "an entry is one line, and not too long")
    line = read_json(text[:-1]); at = moment(line["at"]).tzinfo and moment(line.get("occ", line["at"])).tzinfo
    right = at and WORD.fullmatch(line["cat"]) and isinstance(line.get("id", "") + line.get("src", ""), str)
    require(right and all(b64(line[name], 32) for name in {"sub", "pc"} & {*line}), "a field of another form")
    version, number = line["v"], line.get("srcn", 0) if "src" in line else -("srcn" in line)
    require(type(number) is type(version) is int and number >= 0 and version == 1, "another version or count")
    return line
def opening(line: Any) -> tuple[bytes, bytes] | None:  # dk and dv of an entry that opens a row
    pair = [b64(line[name], 32) for name in ("dk", "dv") if isinstance(line.get(name), str)]
    return (pair[0], pair[1]) if len(pair) == 2 else None
def read_epoch(index: int, line: Any) -> Epoch:
    counts, roots = [line[n] for n in ("n", "ss", "ds")], [b64(line[n], 32) for n in ("sr", "dr", "dkc")]
    require(all(type(one) is int and one >= 0 for one in (*counts, index - counts[0])), "it counts wrongly")
    return Epoch(counts[0], List(counts[1], roots[0]), List(counts[2], roots[1]), roots[2])
def read_receipt(data: bytes) -> Receipt:  # c2sp.org/tlog-proof, with the entry in its `extra` line
    found = re.fullmatch(RECEIPT, data, re.DOTALL)
    entry, index, path, note = found.groups() if found else (b"",) * 4  # int refuses what is empty
    return Receipt(int(index), b64(entry), [b64(one, 32) for one in path.splitlines()], note)
def plain(address: str) -> str:  # without differences of case and alphabet
    local, _, domain = unicodedata.normalize("NFKC", address.strip()).casefold().rpartition("@")
    labels = [one[4:].encode().decode("punycode") if one[:4] == "xn--" else one for one in domain.split(".")]
    return f"{local}@{'.'.join(labels)}"
# Files, and time stamps (RFC 3161)
def der(data: bytes, tags: str = "") -> list[Der]:  # values in a row; `tags` says in hex of which kinds
    found, at = list[Der](), 0
    while at < len(data):
        start, size, at = at, data[at + 1], at + 2
        if size > 127: size, at = int.from_bytes(data[at : at + size - 128], "big"), at + size - 128
        found, at = [*found, Der(data[start], data[at : at + size], data[start : at + size])], at + size
    require(at == len(data) and tags in {"", bytes(one.tag for one in found).hex()}, "no DER of a time stamp")
    return found
def inside(data: bytes, *tags: str) -> bytes:  # the last value on the way down through values of these tags
    for step in tags: data = der(data, step)[-1].content
    return data
def check_stamp(reply: bytes, note: bytes, chain: bytes, believed: bytes) -> datetime:  # as of its own time
    status, token = der(inside(reply, "30"), "3030")
    version, digests, content, sent, signers = der(inside(token.content, "06a0", "30"), "023130a031")
    by, named, hashing, told, algorithm, signature = der(inside(signers.content, "30"), "023030a03004")
    text, way = inside(content.content, "06a0", "04"), der(algorithm.content)[0]
    stated, kinds = der(inside(text, "30")), [der(one.content)[0].content.hex() for one in (token, content)]
    require(kinds == [SIGNED, STAMP] and der(status.content)[0].whole == b"\2\1\0", "no stamp, or refused")
    require(hashing.whole in [one.whole for one in der(digests.content)], "it was hashed in another way")
    numbered = way.tag == 6 and max(version.content[0], by.content[0], way.content[-1]) < 128
    broken = [one for one in der(sent.content) if der(one.content, "303003")[2].content[0]] or not numbered
    says = {der(one.content, "0631")[0].content.hex(): one.content for one in der(told.content)}
    digest = HASHED[der(hashing.content)[0].content.hex().removeprefix("60864801650304")]()
    same = inside(says[DIGEST], "0631", "04") == hashlib.new(digest.name, text).digest() and not broken
    require(same and der(stated[2].content, "3004")[1].content == sha(note), "it is over something else")
    issuer, number = der(named.content, "3002"); who = issuer.whole, int.from_bytes(number.content, "big")
    certs = [x509.load_der_x509_certificate(one.whole) for one in der(sent.content)]
    cert = [one for one in certs if (one.issuer.public_bytes(), one.serial_number) == who].pop()
    key: Any = cert.public_key()
    scheme = (padding.PKCS1v15(), digest) if isinstance(key, rsa.RSAPublicKey) else (ec.ECDSA(digest),)
    key.verify(signature.content, b"\x31" + told.whole[1:], *scheme)
    at = datetime.strptime(stated[4].content.decode()[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    given, trusted = map(x509.load_pem_x509_certificates, (chain, believed))
    roots = chains.Store([one for one in trusted if one.issuer == one.subject])
    issues = demand(x509.BasicConstraints, "AGNOSTIC", lambda it: it.ca)
    uses = demand(x509.ExtendedKeyUsage, "CRITICAL", lambda it: oid.ExtendedKeyUsageOID.TIME_STAMPING in it)
    rules = chains.PolicyBuilder().store(roots).time(at).extension_policies(ca_policy=issues, ee_policy=uses)
    rules.build_client_verifier().verify(cert, [*certs, *given, *trusted]); return at
def demand(kind: Any, weight: str, holds: Callable[[Any], bool]) -> chains.ExtensionPolicy:
    def judge(_policy: Any, _cert: Any, found: Any) -> None: require(holds(found), "an unfit certificate")
    free = chains.ExtensionPolicy.permit_all()
    return free.require_present(kind, getattr(chains.Criticality, weight), judge)
def unzip(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file: return {name: file.read(name) for name in file.namelist()}
def rezip(files: dict[str, bytes]) -> bytes:  # the one zip file that there is of these members
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name in sorted(files):
            info = zipfile.ZipInfo(name)  # 1980 is its default date
            info.create_system, info.external_attr = 3, 0o100644 << 16; file.writestr(info, files[name])
    return out.getvalue()
def path_of(level: int, index: int, width: int = WIDTH) -> str:  # 1234067 is x001/x234/067
    path, rest = f"{index % 1000:03d}", index // 1000
    while rest: path, rest = f"x{rest % 1000:03d}/{path}", rest // 1000
    kind = "entries" if level == ENTRIES else level
    return f"tile/{kind}/{path}" + (f".p/{width}" if width < WIDTH else "")
def items(level: int, data: bytes, width: int) -> list[bytes]:  # hashes or entries, as many as the name says
    found, at, head = list[bytes](), 0, 2 if level == ENTRIES else 0
    while at < len(data):
        start, at = at + head, at + head + (int.from_bytes(data[at : at + 2], "big") if head else 32)
        require(at <= len(data), f"the file ends in the middle of item {len(found)}")
        found.append(data[start:at])
    require(len(found) == width, f"the file holds {len(found)} items; its name says {width}"); return found
class Evidence:  # what is known while evidence is checked; `where` is the place that is looked at
    def __init__(self, keys: list[Key], policy: bytes | None, directory_key: bytes) -> None:
        self.where, self.missing, self.told, self.origin = "--key", list[str](), list[str](), keys[0].name
        self.logs, self.named, self.directory_key, self.policy = keys, list[Key](), directory_key, policy
        self.ingest: list[Key] | None = None; self.complete = isinstance(self, Export)  # once entries tell
        self.epochs, self.stated, self.size, self.root = dict[int, Epoch](), list[bytes](), 0, EMPTY
        self.leaves, self.known, self.start = dict[int, bytes](), dict[Any, bytes](), 0
    def check_head(self, note: Note) -> None:  # once entries told to whom its key was handed over
        self.where, second = "checkpoint", [key for key in self.named if key.kind == MLDSA]
        require(read_head(note.text)[0] == self.origin and signed(note, self.logs), "no key of it signed")
        bare = second and not signed(note, second)  # a bundle may rest on the head of a batch
        self.missing += ["its ML-DSA-44 line"] if bare and isinstance(self, Export) else []
        self.where, text = "policy", b"quorum none" if self.policy is None else self.policy
        logs, enough = read_policy(text, note)
        require(self.missing or not logs or {*logs} & {*self.logs, *self.named}, "it believes another log")
        self.missing += [] if enough else ["cosignatures by as many witnesses as the policy asks for"]
    def check_entry(self, index: int, entry: bytes, *, gap: bool = False) -> Any:  # a gap names keys, too
        line, note = read_entry(entry), read_note(entry)
        require((index == 0) == (line["cat"] == "log.genesis"), "log.genesis stands at 0 and nowhere else")
        named = self.learn(line, note) if line["cat"] in {"log.genesis", "key.rotated"} else []
        keys = named if index == 0 else self.ingest  # the root of the tree vouches for the first entry
        require(keys is None or signed(note, keys) or gap, "no key that the log named signed this")
        self.ingest, self.leaves[index] = None if keys is None else [*keys, *named], leaf_hash(entry)
        if "dkc" in line and line["cat"] != "index.epoch": self.stated.append(b64(line["dkc"]))
        if line["cat"] == "index.epoch":
            epoch = read_epoch(index, line)
            require(gap or not self.stated or epoch.key in self.stated, "an unknown directory key")
            self.epochs |= {} if gap else {index: epoch}
        return line
    def learn(self, line: Any, note: Note) -> list[Key]:  # keys for checkpoints; returns those for entries
        logs = [read_key(line[name], *KEY_BYTES) for name in ("log", "log_pq") if name in line]
        keys = [read_key(one, ED25519) for one in line.get("ingest", [])]
        own = {line.get("origin", self.origin), *(key.name for key in logs)} == {self.origin}
        require(own and all(key.name.startswith(f"{self.origin}/") for key in keys), "it is of another log")
        handed = line["cat"] == "key.rotated" and "log" in line and logs[0] not in self.logs
        if handed and signed(note, self.logs):
            require(signed(note, logs[:1]), "a key was handed over to somebody who did not sign")
            self.logs.append(logs[0])  # a trusted key vouches for the next one
        self.named += logs; return keys
    def person_row(self, sub: bytes, own: Sequence[int]) -> bytes:
        size, root = listing([u64(index) + self.leaves[index] for index in own])
        return b"idx1" + sub + u64(size) + root
    def check_earlier(self, name: str, data: bytes) -> None:  # is what the log signed earlier a part of it?
        self.where, notes, receipts = name, [data], list[Receipt]()
        if data.startswith(b"PK"):
            receipts = [read_receipt(one) for path, one in unzip(data).items() if path.startswith("entries/")]
            notes = [unzip(data)["checkpoint"]]
        elif data.startswith(b"c2sp.org/tlog-proof@"):
            notes, receipts = [read_receipt(data).note], [read_receipt(data)]
        elif re.match(rb"\s*[A-Za-z-]+: ", data):
            parts: list[Any] = [*email.message_from_bytes(data).walk()]
            notes = [p.get_payload(decode=True) for p in parts if str(p.get_filename())[:10] == "checkpoint"]
        require(notes, "no checkpoint is attached to this mail")
        for note in map(read_note, notes):
            (origin, size, root), keys = read_head(note.text), [*self.logs, *self.named]
            require(signed(note, keys) and origin == self.origin, "no key of this log signed it")
            for index, entry, path, _ in receipts:
                require(climb(index, size, leaf_hash(entry), path, {}) == root, "it does not hold by itself")
                require(self.leaves.get(index) in {None, leaf_hash(entry)}, f"entry {index} was another one")
            require(size <= self.size or self.start, f"the log had {size} entries then; {self.size} are here")
            known = tree(0, size, self.leaves.get, self.known) if size <= self.size else None
            require(known in {None, root}, f"the log signed another history of its first {size} entries")
            self.missing += [] if known else [f"what shows that {name} is part of this"]
    def check_stamps(self, names: Iterable[str], read: Any, believed: bytes | None) -> None:
        for name in sorted(names):
            note, reply, chain = (read(f"tsr/{name}.{end}") for end in ("checkpoint", "tsr", "pem"))
            if None not in {note, reply, chain}:
                self.check_earlier(f"tsr/{name}.tsr", note)
                self.told.append(f"time stamp: {check_stamp(reply, note, chain, believed or chain)}")
class Bundle(Evidence):  # an answer about one address
    def run(self, what: Path, believed: bytes | None) -> None:
        self.where, data, self.address = "zip file", what.read_bytes(), ""
        self.files, self.lines, self.opened = unzip(data), dict[int, Any](), dict[int, str]()
        receipts = {index: read_receipt(one) for index, one in self.numbered(PROOF)}
        known = {PROOF.format(n) for n in receipts} | {OPENED.format(n) for n, _ in self.numbered(OPENED)}
        anchors = {name for name in self.files if re.fullmatch(ANCHOR, name)}
        require(self.files.keys() <= known | anchors | {*NEEDED, COMPLETE}, "it holds what no bundle has")
        self.missing += [name for name in NEEDED if name not in self.files]
        head = self.files.get("checkpoint", next((one.note for one in receipts.values()), None))
        if head is not None: _, self.size, self.root = read_head(read_note(head).text)
        self.start, self.known = self.size, {(0, self.size): self.root}
        for index, (number, entry, path, note) in receipts.items():
            self.where = PROOF.format(index)
            require((number, note) == (index, head), "it is of another entry or checkpoint")
            require(climb(index, self.size, leaf_hash(entry), path, self.known) == self.root, "a wrong proof")
            self.lines[index] = self.check_entry(index, entry)
        if head is not None: self.check_head(read_note(head))
        if "manifest" in self.files: self.check_manifest(read_note(self.files["manifest"]))
        if "question.json" in self.files:
            self.where = "question.json"
            self.address, at, of = read_json(self.files[self.where]).values()  # their names are in order
            require(moment(at).tzinfo and of == self.origin, "it was asked of another log")
        for role in {name[8:].partition(".")[0] for name in anchors if name[0] == "b"}: self.check_end(role)
        stems = {name[4:].rpartition(".")[0] for name in anchors if name[0] == "t"}
        self.check_stamps(stems, self.read, believed)
        for index, one in self.numbered(OPENED):
            self.where = OPENED.format(index); self.check_opening(index, read_json(one))
        subjects = {line["sub"] for line in self.lines.values() if "sub" in line}
        openings = sum(line["cat"] == "subject.opened" for line in self.lines.values())
        self.missing += ["the subject.opened entry of a subject"] if len(subjects) > openings else []
        told = {*self.opened.values()} if openings == len(self.opened) > 0 else subjects
        require(subjects <= told, "an entry is about another person")
        if COMPLETE in self.files and not self.missing: self.check_completeness()
        self.where = "zip file"
        require(self.missing or rezip(self.files) == data, "what is around the members was changed")
    def numbered(self, form: str) -> list[tuple[int, bytes]]:
        form = re.escape(form).replace(r"\{\}", NUMBER)
        found = ((re.fullmatch(form, name), data) for name, data in self.files.items())
        return sorted((int(number[1]), data) for number, data in found if number)
    def read(self, path: str) -> bytes | None:
        self.missing += [] if path in self.files else [path]; return self.files.get(path)
    def check_end(self, role: str) -> None:  # one of the checkpoints around a moment
        name, self.where = (f"bracket/{role}.{end}" for end in ("checkpoint", "consistency"))
        if (note := self.read(name)) is None or (path := self.read(self.where)) is None: return
        (_, size, root), lines = read_head(read_note(note).text), path.split(b"\n")
        shown = [grown(size, self.size, [b64(one, 32) for one in lines[:-1]], root, now) for now in (0, 1)]
        require(shown == [root, self.root] and not lines[-1], "it is no part of the log")
        self.known[0, size] = root; self.check_earlier(name, note)
        read_policy(self.policy or b"quorum none", read_note(note))  # whose lines must hold
        self.told.append(f"{role} the moment: {size} entries")
    def check_manifest(self, note: Note) -> None:
        self.where, (title, origin, *lines) = "manifest", note.text.decode()[:-1].split("\n")
        listed = {line[66:]: line[:66] for line in lines}
        require(signed(note, self.logs) and len(note.lines) == 1 and len(listed) == len(lines), "too much")
        require((title, origin) == ("consent-ledger bundle v1", self.origin), "it is of another log")
        self.missing += sorted(listed.keys() - self.files.keys() - {*self.missing})
        for name, data in self.files.items():
            require(name == "manifest" or listed.get(name) == f"{sha(data).hex()}  ", f"{name} was changed")
    def check_opening(self, index: int, shown: Any) -> None:  # is it what an entry committed to?
        line = self.lines.get(index)
        if line is None: require(PROOF.format(index) in self.missing, "its entry is not part of the bundle")
        elif shown.keys() == {"r", "sub"}:
            right = b64(line["dv"]) == mac(b64(shown["r"]), b"dirval1" + b64(shown["sub"]))
            require(right and line["cat"] == "subject.opened", "the directory leads to somebody else")
            self.opened[index] = shown["sub"]
        else:
            closed, fields, salts = (shown.pop(name) for name in ("closed", "fields", "salts"))
            made = {name: text64(mac(b64(salts[name]), canonical(fields[name]))) for name in fields}
            right = not shown and fields.keys() == salts.keys() and not fields.keys() & closed.keys()
            require(right and all(map(b64, closed.values())), "a disclosure of another form")
            require(b64(line["pc"]) == sha(canonical(made | closed)), "it is not what the entry committed to")
            told = {plain(fields[name]) for name in ("address", "email") if isinstance(fields.get(name), str)}
            require(not self.address or told <= {plain(self.address)}, "it is of another address")
    def check_completeness(self) -> None:  # is every entry about the address here? (SPEC.md, lists)
        self.where, lines, shown = COMPLETE, self.lines, read_json(self.files[COMPLETE])
        epoch = self.epochs[shown["epoch"]]
        tail = self.read_tail(b64(shown["edge"]), [b64(one) for one in shown["tail"]], epoch.covered)
        key, address = self.directory_key or b64(shown.get("directory_key", "")), str(self.address)
        require(not key or sha(b"dirkey1" + key) == epoch.key, "another directory key than the log's")
        normal = unicodedata.normalize("NFKC", address.strip()).casefold() == address
        found, addressed = list[int](), bool(key) and normal and address.rpartition("@")[2].isascii()
        def dk() -> bytes: return mac(key, f"dir1\n{address}\n{len(found) + 1}".encode())
        for row in (read_row(one, b"dir1", epoch.rows) for one in shown["versions"]):
            require(not addressed or row[4:36] == dk(), "a row of the directory is of another address")
            at = int.from_bytes(row[68:], "big")
            require(at < epoch.covered and opening(lines[at]) == (row[4:36], row[36:68]), "a row of no entry")
            found.append(at)
        next_is_absent = not addressed or is_absent(shown["next_version"], dk(), b"dir1", epoch.rows)
        require(next_is_absent and len(shown) == 6 + ("directory_key" in shown), "a row was left out")
        late = {pair[0]: index for index, line in tail.items() if (pair := opening(line))}
        while addressed and dk() in late: found.append(late[dk()])
        found += [] if addressed else [index for index in tail if "dk" in lines.get(index, ())]
        people = [self.opened[index] for index in found if index in self.opened]
        require({*found} <= lines.keys(), "an entry that opened the address is not here")
        for index, line in (tail | lines).items():
            own, named = line.get("sub") in people or index in found, line.keys() & {"sub", "dk"}
            require(own or not named or index not in lines, f"entry {index} is about another person")
            require(index in lines or not own, f"entry {index} is about this person and was left out")
        for sub, one in zip(people, shown["subjects"], strict=True):
            mine = [index for index in lines if index < epoch.covered and lines[index].get("sub") == sub]
            if "row" in one: right = read_row(one, b"idx1", epoch.persons) == self.person_row(b64(sub), mine)
            else: right = is_absent(one, b64(sub), b"idx1", epoch.persons) and not mine
            require(right, "the index counted other entries")
        self.complete = addressed and len(people) == len(found)
    def read_tail(self, edge: bytes, tail: list[bytes], start: int) -> dict[int, Any]:  # to the root
        require(edge[:8] == u64(start) and len(edge) == 8 + 32 * start.bit_count(), "the edge is another one")
        ends = [start >> bit << bit for bit in range(63, -1, -1) if start >> bit & 1]
        peaks = {pair: edge[8 + 32 * n :][:32] for n, pair in enumerate(zip([0, *ends], ends, strict=False))}
        leaves = {start + n: leaf_hash(one) for n, one in enumerate(tail)}
        root = tree(0, self.size, leaves.get, peaks)
        require(start + len(tail) == self.size and root == self.root, "the tail does not lead to the root")
        self.leaves, self.known, self.start = self.leaves | leaves, self.known | peaks, start
        return {start + n: read_entry(one) for n, one in enumerate(tail)}
class Export(Evidence):  # the folder of a whole log
    def run(self, folder: Path, believed: bytes | None) -> None:
        self.folder, self.events, self.rows = folder.resolve(), dict[bytes, list[int]](), dict[bytes, Any]()
        self.where, data = "checkpoint", self.read("checkpoint")
        if data is None: return
        _, self.size, self.root = read_head(read_note(data).text); self.check_entries()
        if self.policy is None: self.policy = self.read("policy.txt")
        self.check_head(read_note(data)); self.check_tiles(); self.check_lists()
        if self.ingest is not None: self.check_keys((self.read("keys.txt") or b"").decode().splitlines())
        self.check_stamps((file.stem for file in folder.glob("tsr/*.tsr")), self.read, believed)
    def read(self, path: str) -> bytes | None:
        file = (self.folder / path).resolve(); found = file.is_file() and self.folder in file.parents
        self.missing += [] if found else [path]; return file.read_bytes() if found else None
    def tile(self, level: int, index: int) -> list[bytes]:  # or the full one; none if it is missing
        width = min(WIDTH, (self.size >> 8 * max(level, 0)) - index * WIDTH)
        wide = {path_of(level, index, one): one for one in (WIDTH, width)}
        self.where = [*wide][-1 if (self.folder / [*wide][-1]).exists() else 0]
        return [] if (data := self.read(self.where)) is None else items(level, data, wide[self.where])[:width]
    def check_entries(self) -> None:  # in the order of the log; keeps what its lists and its tree are made of
        gap, before = False, ""
        for index in range(-(-self.size // WIDTH)):
            entries, leaves = self.tile(ENTRIES, index), self.tile(0, index)
            gap, before = gap or not entries, before if entries else ""
            self.leaves |= dict(enumerate(leaves, index * WIDTH))
            for at, entry in enumerate(entries, index * WIDTH):
                self.where = f"{path_of(ENTRIES, index)} (entry {at})"
                line = self.check_entry(at, entry, gap=gap)
                late = before > line["at"] and (moment(before) - moment(line["at"])).total_seconds() > 30
                require(not late, "it was received more than 30 s before its left neighbour")
                before, pair = line["at"], opening(line)
                if not gap and "sub" in line: self.events.setdefault(b64(line["sub"]), []).append(at)
                require(gap or not pair or pair[0] not in self.rows, "it opens a row that was opened before")
                if pair and not gap: self.rows[pair[0]] = pair[1] + u64(at)
    def check_tiles(self) -> None:  # every file among the tiles, also those of earlier sizes; then the root
        for level in range(1, 8):
            for index in range(-(-(self.size >> 8 * level) // WIDTH)): self.tile(level, index)
        for file in sorted((self.folder / "tile").rglob("*")):
            if file.is_dir() or file.name.startswith("."): continue
            self.where = path = file.relative_to(self.folder).as_posix()
            kind, groups, partial = [*TILE.findall(path.replace("entries", "-1")), "000"][0]
            level, index, width = (int(re.sub("[x/]", "", one)) for one in (kind, groups, partial or "256"))
            require(path == path_of(level, index, width), "no tile has this name")
            for at, item in enumerate(items(level, self.read(path) or b"", width), index * WIDTH):
                self.where, below = f"{path}, item {at % WIDTH}", 8 * max(level, 0)
                right = tree(at << below, at + 1 << below, self.leaves.get, {})
                require(right in {None, leaf_hash(item) if level == ENTRIES else item}, "it is not the log's")
        self.where, root = "checkpoint", tree(0, self.size, self.leaves.get, {})
        require(root in {None, self.root}, "the entries here do not add up to the root that was signed")
    def check_lists(self) -> None:  # both lists of every epoch, made again
        for at, epoch in sorted(self.epochs.items(), key=lambda one: one[1].covered):
            self.where, high = f"entry {at}", epoch.covered
            own = ((sub, [one for one in self.events[sub] if one < high]) for sub in sorted(self.events))
            persons = listing([self.person_row(sub, indexes) for sub, indexes in own if indexes])
            rows = [b"dir1" + dk + row for dk, row in sorted(self.rows.items()) if row[32:] < u64(high)]
            require((persons, listing(rows)) == (epoch.persons, epoch.rows), "the epoch states other lists")
    def check_keys(self, listed: list[str]) -> None:
        self.where, known = "keys.txt", {"entry": self.ingest or [], "checkpoint": [*self.logs, *self.named]}
        for kind, _, vkey in (line.partition(" ") for line in listed if line and line[0] != "#"):
            require(self.missing or read_key(vkey, *KEY_BYTES) in known[kind], "a key that it did not name")
class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn: self.exit(64, f"{self.prog}: {message}\n")  # 2 is a verdict
def main() -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", type=Path, help="a bundle (zip) or the folder of an export")
    parser.add_argument("--key", required=True, action="append", help="the log's public key, or a file of it")
    parser.add_argument("--since", type=Path, action="append", default=[], help="what the log signed earlier")
    parser.add_argument("--require-complete", action="store_true", help="incomplete where it is not shown")
    for name in ("--policy", "--tsa", "--directory-key"): parser.add_argument(name, type=Path, metavar="FILE")
    given = parser.parse_args()
    try:
        told = " ".join(one if "+" in one else Path(one).read_text() for one in given.key).split()
        keys = [read_key(one, ED25519) for one in told]; require(len({k.name for k in keys}) == 1, "two logs")
        policy, tsa, held = (at and at.read_bytes() for at in (given.policy, given.tsa, given.directory_key))
        kept = [(one.name, Path(one, "checkpoint" * one.is_dir()).read_bytes()) for one in given.since]
        trial: Any = (Export if given.what.is_dir() else Bundle)(keys, policy, b64((held or b"").strip()))
        given.what.stat()
    except (*UNREADABLE, OSError) as error: parser.error(f"nothing was checked, it cannot be read: {error}")
    state, reason = "good", "everything that is here holds"
    try:
        trial.run(given.what, tsa)
        for name, data in kept: trial.check_earlier(name, data)
        if given.require_complete and not trial.complete: trial.missing.append("what shows completeness")
        if trial.missing: state, reason = "incomplete", f"{trial.missing[0]} is missing; what is here holds"
    except UNREADABLE as error: state, reason = "bad", f"{trial.where}: {str(error) or 'a false signature'}"
    told = [f"log: {trial.origin}, {trial.size} entries", *(trial.told if state == "good" else [])]
    aside = " (completeness not shown)" if state == "good" and not trial.complete else ""
    sys.stdout.write("\n".join([f"{state}{aside}: {reason}", *told, ""]))
    return {"good": 0, "bad": 1, "incomplete": 2}[state]
if __name__ == "__main__": sys.exit(main())
