"""A time-stamping authority on loopback: `openssl ts` behind HTTP, with certificates of any age."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from service.anchor.attestation import Authority
from service.ledger.timestamp import REPLY_TYPE, read_trust
from tests.anchor.witness import serving

CONFIG = """
[tsa]
serial = serial
crypto_device = builtin
signer_cert = signer.pem
signer_key = signer.key
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256
ess_cert_id_alg = sha256
"""
DAY = timedelta(days=1)


class LocalAuthority:
    """A root and a signer whose certificates hold from `since` until `until`."""

    def __init__(self, folder: Path, *, since: datetime | None = None, until: datetime | None = None):
        now = datetime.now(UTC)
        self.folder = folder
        folder.mkdir()
        since, until = since or now - DAY, until or now + DAY
        root_key = ec.generate_private_key(ec.SECP256R1())
        root = _certify("root", root_key, "root", root_key, (since, now + 3650 * DAY), authority=True)
        key = ec.generate_private_key(ec.SECP256R1())
        signer = _certify("signer", key, "root", root_key, (since, until), authority=False)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "signer.key").write_bytes(pem)
        (folder / "signer.pem").write_bytes(signer.public_bytes(Encoding.PEM))
        (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
        (folder / "serial").write_text("01\n")
        (folder / "ts.cnf").write_text(CONFIG)

    @property
    def chain(self) -> bytes:
        return (self.folder / "root.pem").read_bytes()

    def stamp(self, query: bytes) -> bytes:
        (self.folder / "query.tsq").write_bytes(query)
        command = ["openssl", "ts", "-reply", "-config", "ts.cnf", "-section", "tsa"]
        files = ["-queryfile", "query.tsq", "-out", "reply.tsr"]
        subprocess.run([*command, *files], cwd=self.folder, check=True, capture_output=True)
        return (self.folder / "reply.tsr").read_bytes()

    def judge(self, reply: bytes, data: bytes) -> bool:
        """What `openssl ts -verify` says of a reply."""
        (self.folder / "judged.tsr").write_bytes(reply)
        (self.folder / "data").write_bytes(data)
        command = ["openssl", "ts", "-verify", "-data", "data", "-in", "judged.tsr", "-CAfile", "root.pem"]
        return subprocess.run(command, cwd=self.folder, check=False, capture_output=True).returncode == 0

    def named(self, name: str, url: str) -> Authority:
        return Authority(name=name, url=url, chain=self.chain, trust=read_trust(self.chain))


@contextmanager
def authority_server(authority: LocalAuthority) -> Iterator[str]:
    """Serve an authority over HTTP."""
    with serving(lambda _path, body: (200, REPLY_TYPE, authority.stamp(body))) as url:
        yield url


def _certify(name, key, issuer, issuer_key, span, *, authority):
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(span[0])
        .not_valid_after(span[1])
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(_usage(authority=authority), critical=True)
    )
    if not authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(purpose, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(*, authority):
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    rest = dict.fromkeys((*names, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **rest)
