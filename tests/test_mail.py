import base64
import email
import email.policy
import multiprocessing
import socket
import ssl
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from sqlalchemy import select, update

from service.db import Database, drift, mailing
from service.errors import Malformed, Misconfigured, Unavailable
from service.mail import (
    FolderOutbox,
    SmtpOutbox,
    compose,
    message_id,
    needs_tls,
    parse_mailboxes,
    send_nightly,
)
from service.mail.nightly import LEASE, PAUSE
from service.reports.drift import drift_report
from service.reports.render import TREND, Attachment, Letter, render
from tests.reports.nights import NOW, a_month, person
from tests.running import ORIGIN, claim, policies, start

NIGHT = date(2026, 11, 23)
CHECKPOINT = "ledger.example\n7\nabc=\n\n— ledger.example Zm9v\n.\n..\nFrom here\n".encode()
LETTER = Letter(
    subject="Consent drift 2026-11-23: nothing found",
    text="Line one\n.\nFrom the ledger \u2013 done\n",
    html="<p>caf\u00e9</p><img src='cid:trend.png'>",
    pictures={"trend.png": b"\x89PNG\r\n\x1a\n"},
    attachments=(
        Attachment(name="drift.csv", media_type="text/csv", data=b'"a"\r\n"b"\r\n'),
        Attachment(name="checkpoint.txt", media_type="application/octet-stream", data=CHECKPOINT),
    ),
)


def mail(letter=LETTER, **changes):
    told = {
        "sender": "Consent Ledger <ledger@example.org>",
        "recipients": "legal@example.org, Dr. Ada L. <ada@example.org>",
        "message_id": message_id(NIGHT, ORIGIN),
        "at": NOW,
        **changes,
    }
    return compose(letter, **told)


def parse(data):
    return email.message_from_bytes(data, policy=email.policy.default)


@dataclass
class Inbox(Message):
    """A mail server's handler that keeps what it is given; refuses with `answer` while it is set."""

    answer: str = ""
    taken: list = field(default_factory=list)

    def __post_init__(self):
        super().__init__()

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802  # aiosmtpd's name
        if self.answer:
            return self.answer
        self.taken.append(envelope)
        return "250 OK"

    def handle_message(self, _message):
        raise AssertionError("handle_DATA takes everything")


@pytest.fixture
def inbox():
    return Inbox()


@contextmanager
def serving(inbox, **settings):
    """Run a mail server on loopback that fills `inbox`; yields its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(inbox, hostname="127.0.0.1", port=port, **settings)
    server.start()
    try:
        yield port
    finally:
        server.stop()


@pytest.fixture
def smtp(inbox):
    with serving(inbox) as port:
        yield f"smtp://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Return the path of a key and certificate for 0.0.0.0, which reaches loopback without saying so."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(0))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "mail.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
    return path


def test_the_mail_has_its_parts_in_the_order_that_clients_expect():
    parsed = parse(mail().as_bytes())
    assert parsed.get_content_type() == "multipart/mixed"
    body, table, checkpoint = parsed.iter_parts()
    assert body.get_content_type() == "multipart/alternative"
    plain, rich = body.iter_parts()
    assert plain.get_content_type() == "text/plain"
    assert rich.get_content_type() == "multipart/related"
    html, picture = rich.iter_parts()
    assert (html.get_content_type(), picture.get_content_type()) == ("text/html", "image/png")
    assert picture["Content-ID"] == "<trend.png>"
    assert picture.get_content_disposition() == "inline"
    assert (table.get_filename(), table.get_content_type()) == ("drift.csv", "text/csv")
    assert checkpoint.get_content_disposition() == "attachment"
    assert "caf\u00e9" in html.get_content()
    assert "done" in plain.get_content()


def test_headers_name_everybody_and_the_mail_answers_no_robot():
    parsed = parse(mail().as_bytes())
    assert parsed["To"].addresses[1].addr_spec == "ada@example.org"
    assert parsed["To"].addresses[1].display_name == "Dr. Ada L."
    assert parsed["From"].addresses[0].addr_spec == "ledger@example.org"
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed["Date"].datetime == NOW


def test_every_line_on_the_wire_is_short_and_ends_in_crlf():
    data = mail().as_bytes()
    assert data.count(b"\n") == data.count(b"\r\n")
    assert max(map(len, data.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("way", ["smtp", "folder"])
def test_the_checkpoint_arrives_byte_for_byte(way, request, tmp_path, inbox):
    if way == "smtp":
        SmtpOutbox(request.getfixturevalue("smtp")).send(mail())
        data = inbox.taken[0].content
    else:
        data = Path(FolderOutbox(tmp_path).send(mail())).read_bytes()
    *_, checkpoint = parse(data).iter_parts()
    assert checkpoint.get_payload(decode=True) == CHECKPOINT


def test_smtp_delivers_to_everybody_and_keeps_lone_dots(smtp, inbox):
    place = SmtpOutbox(smtp).send(mail())
    envelope = inbox.taken[0]
    assert place == smtp
    assert envelope.mail_from == "ledger@example.org"
    assert envelope.rcpt_tos == ["legal@example.org", "ada@example.org"]
    plain, _ = next(parse(envelope.content).iter_parts()).iter_parts()
    assert plain.get_content().splitlines() == LETTER.text.splitlines()


@pytest.mark.parametrize(
    "line", ["a\r\nBcc: eve@example.org", "a\nb", "a\rb", "a\x00b", "a\x85b", "a\u2028b"]
)
@pytest.mark.parametrize("part", ["subject", "message_id", "attachment", "picture"])
def test_a_header_cannot_be_injected_into(line, part):
    letter, changes = LETTER, {}
    match part:
        case "subject":
            letter = replace(LETTER, subject=line)
        case "message_id":
            changes = {"message_id": f"<{line}@x>"}
        case "attachment":
            letter = replace(LETTER, attachments=(replace(LETTER.attachments[0], name=line),))
        case _:
            letter = replace(LETTER, pictures={line: b""})
    with pytest.raises(Malformed):
        mail(letter, **changes)


@pytest.mark.parametrize(
    "address",
    [
        "",
        ",",
        "nobody",
        "a@b@c",
        "legal@example.org\r\nBcc: eve@example.org",
        "Eve\r\nBcc: x <eve@example.org>",
        "<legal@example.org",
        "legal@example.org>",
        "a b@example.org",
        "legal@example.org eve@example.org",
        "legal@\u2028example.org",
    ],
)
@pytest.mark.parametrize("setting", ["sender", "recipients"])
def test_an_address_that_cannot_be_written_to_is_refused_without_being_repeated(address, setting):
    with pytest.raises(Misconfigured) as error:
        mail(**{setting: address})
    assert "eve" not in str(error.value)
    assert "CONSENT_MAIL" in str(error.value)


def test_a_mailbox_may_have_a_name_and_an_international_domain():
    (found,) = parse_mailboxes("Recht <recht@m\u00fcller.example>", setting="CONSENT_MAIL_TO")
    assert (found.display_name, found.addr_spec) == ("Recht", "recht@xn--mller-kva.example")


def test_the_message_id_depends_on_night_and_log_alone():
    first = message_id(NIGHT, ORIGIN)
    assert first == message_id(NIGHT, ORIGIN)
    assert (
        len({first, message_id(NIGHT + timedelta(days=1), ORIGIN), message_id(NIGHT, "ledger.example/b")})
        == 3
    )
    assert first.endswith("@ledger.example>")
    assert message_id(NIGHT, "odd host+x/1").endswith("@ledger.invalid>")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", False),
        ("127.0.0.1", False),
        ("127.8.9.1", False),
        ("::1", False),
        ("mail.example.org", True),
        ("localhost.example.org", True),
        ("10.0.0.1", True),
        ("192.168.1.5", True),
    ],
)
def test_only_this_very_machine_may_be_spoken_to_in_the_clear(host, expected):
    assert needs_tls(host) is expected


def test_a_server_elsewhere_without_starttls_gets_nothing(inbox):
    with serving(inbox) as port, pytest.raises(Unavailable, match="STARTTLS"):
        SmtpOutbox(f"smtp://user:secret@0.0.0.0:{port}").send(mail())
    assert inbox.taken == []


def test_a_mail_catcher_without_tls_is_reached_only_by_saying_so(inbox):
    with serving(inbox) as port:
        SmtpOutbox(f"smtp+plain://0.0.0.0:{port}").send(mail())
    assert len(inbox.taken) == 1


def test_no_password_is_ever_sent_in_the_clear():
    with pytest.raises(Misconfigured, match="in the clear"):
        SmtpOutbox("smtp+plain://user:secret@mailcatcher:1025")


def login(_server, _session, _envelope, mechanism, data):
    known = (data.login, data.password) == (b"ledger@acme", b"p@ss word")
    return AuthResult(success=known and mechanism == "PLAIN", handled=False)


@pytest.fixture
def elsewhere(inbox, certificate):
    """Yield the port of a server that demands STARTTLS and a login."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    demands = {
        "tls_context": context,
        "require_starttls": True,
        "authenticator": login,
        "auth_required": True,
    }
    with serving(inbox, **demands) as port:
        yield port


def test_a_server_elsewhere_is_spoken_to_through_starttls_with_the_urls_credentials(
    elsewhere, inbox, certificate
):
    trusted = ssl.create_default_context(cafile=certificate)
    url = f"smtp://ledger%40acme:p%40ss%20word@0.0.0.0:{elsewhere}"
    assert SmtpOutbox(url, context=trusted).send(mail()) == f"smtp://0.0.0.0:{elsewhere}"
    assert len(inbox.taken) == 1


def test_a_certificate_that_nobody_vouches_for_gets_nothing(elsewhere, inbox):
    with pytest.raises(Unavailable, match="SSLCertVerificationError"):
        SmtpOutbox(f"smtp://ledger%40acme:p%40ss%20word@0.0.0.0:{elsewhere}").send(mail())
    assert inbox.taken == []


def test_a_wrong_password_is_told_without_it(elsewhere, certificate):
    trusted = ssl.create_default_context(cafile=certificate)
    with pytest.raises(Unavailable, match="535") as error:
        SmtpOutbox(f"smtp://ledger%40acme:wr0ng@0.0.0.0:{elsewhere}", context=trusted).send(mail())
    assert "wr0ng" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["", "mail.example.org", "http://mail.example.org", "smtp://", "smtp://host:port"]
)
def test_a_url_that_names_no_mail_server_is_refused(url):
    with pytest.raises(Misconfigured, match="CONSENT_SMTP_URL"):
        SmtpOutbox(url)


def test_credentials_appear_in_no_repr_place_or_error():
    outbox = SmtpOutbox("smtp://user:s3cret@127.0.0.1:1")
    with pytest.raises(Unavailable) as error:
        outbox.send(mail())
    assert "s3cret" not in repr(outbox) + str(error.value)


def test_a_server_that_greylists_is_unavailable_without_naming_anybody(smtp, inbox):
    inbox.answer = "451 4.7.1 <legal@example.org> try again later"
    with pytest.raises(Unavailable, match="451") as error:
        SmtpOutbox(smtp).send(mail())
    assert "legal@" not in str(error.value)
    assert error.value.__suppress_context__


def test_the_folder_holds_whole_private_files_and_a_retry_replaces_its_own(tmp_path):
    outbox = FolderOutbox(tmp_path / "outbox")
    first = outbox.send(mail())
    assert outbox.send(mail()) == first
    assert [path.name for path in (tmp_path / "outbox").iterdir()] == [Path(first).name]
    assert Path(first).suffix == ".eml"
    assert Path(first).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "outbox").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path):
    (tmp_path / "outbox").write_text("a file where the folder should be")
    with pytest.raises(Unavailable, match="outbox folder"):
        FolderOutbox(tmp_path / "outbox").send(mail())


@dataclass
class Clock:
    at: datetime = NOW

    def __call__(self):
        return self.at


def send(database, outbox, clock, letter=lambda: LETTER, night=NIGHT):
    return send_nightly(
        database,
        outbox,
        letter,
        night=night,
        origin=ORIGIN,
        sender="ledger@example.org",
        recipients="legal@example.org",
        now=clock,
    )


def test_a_night_is_mailed_once(database, tmp_path):
    clock, outbox = Clock(), FolderOutbox(tmp_path)
    place = send(database, outbox, clock)
    assert place is not None
    clock.at += 2 * LEASE
    assert send(database, outbox, clock) is None
    assert send(database, outbox, clock, night=NIGHT + timedelta(days=1)) is not None
    with database.read() as tx:
        row = tx.execute(select(mailing).where(mailing.c.night == "2026-11-23")).one()
    assert (row.state, row.place, row.sent_at) == ("sent", place, NOW)
    assert row.message_id == message_id(NIGHT, ORIGIN)


def test_threads_that_race_for_a_night_send_one_mail(database, smtp, inbox):
    barrier, places = threading.Barrier(6), []

    def race():
        barrier.wait()
        places.append(send(database, SmtpOutbox(smtp), Clock()))

    racers = [threading.Thread(target=race) for _ in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert len(inbox.taken) == 1
    assert sorted(place is None for place in places) == [False, *[True] * 5]


def _work(url, smtp, barrier, places):
    with closing(Database(url)) as database:
        barrier.wait()
        places.put(send(database, SmtpOutbox(smtp), Clock()))


def test_two_workers_that_race_for_a_night_send_one_mail(database_url, smtp, inbox):
    context = multiprocessing.get_context("spawn")
    barrier, places = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_work, args=(database_url, smtp, barrier, places)) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = [places.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert len(inbox.taken) == 1
    assert found.count(None) == 1


def test_a_mail_that_the_server_refuses_is_tried_again_after_a_pause(database, smtp, inbox):
    clock, outbox = Clock(), SmtpOutbox(smtp)
    inbox.answer = "451 later"
    with pytest.raises(Unavailable):
        send(database, outbox, clock)
    clock.at += PAUSE / 2
    assert send(database, outbox, clock) is None
    inbox.answer = ""
    clock.at += PAUSE
    assert send(database, outbox, clock) == smtp
    assert len(inbox.taken) == 1


class Crash(BaseException):
    """The worker is gone."""


class CrashingOutbox:
    """Sends, and dies before anybody can note it down."""

    def __init__(self, inner):
        self.inner = inner

    def send(self, message):
        self.inner.send(message)
        raise Crash


def test_a_worker_that_died_after_sending_is_replaced_under_the_same_message_id(database, smtp, inbox):
    clock = Clock()
    with pytest.raises(Crash):
        send(database, CrashingOutbox(SmtpOutbox(smtp)), clock)
    clock.at += LEASE / 2
    assert send(database, SmtpOutbox(smtp), clock) is None
    clock.at += LEASE
    assert send(database, SmtpOutbox(smtp), clock) == smtp
    first, second = (parse(envelope.content)["Message-ID"] for envelope in inbox.taken)
    assert first == second


def test_the_loser_does_not_even_write_the_letter(database, tmp_path):
    send(database, FolderOutbox(tmp_path), Clock())

    def never():
        raise AssertionError("the letter was written for nothing")

    assert send(database, FolderOutbox(tmp_path), Clock(), letter=never) is None


def test_nobodys_address_stands_in_the_mail_or_its_table(database, smtp, inbox):
    with start(database) as intake:
        intake.record([claim("recognisable.person@example.net")])
        with intake.db.begin() as tx:
            a_month(tx)
            index = intake.vault.address_index("recognisable.person@example.net")
            hers = (drift.c.kind == "complaint_not_in_crm") & (drift.c.address_index == person(400))
            tx.execute(update(drift).where(hers).values(address_index=index))

        def letter():
            with intake.db.read() as tx:
                return render(drift_report(tx, policies(), now=NOW))

        send(database, SmtpOutbox(smtp), Clock(), letter=letter)
        with intake.db.read() as tx:
            head = intake.store.head(tx)
    parsed = parse(inbox.taken[0].content)
    leaves = [part.get_payload(decode=True) for part in parsed.walk() if not part.is_multipart()]
    assert len(leaves) == 5
    assert not any(b"recognisable" in leaf or b"example.net" in leaf for leaf in leaves)
    assert f"p-{index[:8].hex()}".encode() in leaves[3]
    assert leaves[4] == head
    assert base64.b64encode(b"recognisable.person") not in inbox.taken[0].content
    assert parsed["Subject"].startswith(
        "Consent drift 2026-11-23: 412 opt-outs had not reached Zoho, all repaired"
    )
    assert TREND in leaves[1].decode()
