"""Losing the way in: tokens, data centres, modules and fields that an admin takes away, lines that break."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr
from structlog.testing import capture_logs

from service.errors import QuotaExhausted, ServiceError, Unreachable, ZohoDenied, ZohoError
from service.zoho.simulator.names import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN
from service.zoho.simulator.switches import ALL_SCOPES
from service.zoho.wire import Line
from tests.faults_zoho.conftest import A_DAY, reconnected
from tests.faults_zoho.test_writes import changes_left
from tests.reconciler.conftest import stopped
from tests.running import claim, withdrawal


class Impostor(NamedTuple):
    """Where it listens, its certificate, and what it was told."""

    url: str
    certificate: Path
    heard: list[bytes]


def forget_access_tokens(made) -> None:
    """What an admin does who ends all sessions: the next call finds a dead token."""
    made.sim.world.tokens.live.clear()


def revoke(made) -> None:
    made.sim.client.post("/oauth/v2/token/revoke", params={"token": REFRESH_TOKEN}).raise_for_status()
    forget_access_tokens(made)


def granted_again(made) -> str:
    """A refresh token of a new grant, as `connect` gets one."""
    code = made.sim.control("oauth/code", {"scope": ALL_SCOPES.replace(" ", ",")})["code"]
    form = {
        "grant_type": "authorization_code",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "code": code,
    }
    return made.sim.client.post("/oauth/v2/token", data=form).json()["refresh_token"]


@pytest.mark.parametrize("step", ["read crm", "write campaigns", "recorded"])
def test_an_access_token_that_dies_in_mid_run_is_renewed_and_nobody_notices(org, step):
    result = org.run(progress=org.at(step, lambda: forget_access_tokens(org)))
    assert not result.remaining
    assert not result.failed
    org.converges()


@pytest.mark.parametrize("step", ["observing", "planned", "written crm:Contacts/"])
def test_a_grant_that_is_revoked_in_mid_run_ends_it_and_a_new_one_converges(org, step):
    ended = org.attempt(progress=org.at(step, lambda: revoke(org)))
    if isinstance(ended, ServiceError):
        assert isinstance(ended, ZohoDenied)
        assert "consent-ledger connect" in str(ended) or "refresh token" in str(ended)
    else:
        assert ended.changes.stopped
    email = org.ordinary()
    assert isinstance(org.intake.record([claim(email)])[0].index, int)
    org.later(timedelta(minutes=2))
    with capture_logs() as told:
        assert isinstance(org.attempt(), ZohoDenied)
    (alarm,) = [line for line in told if line["event"] == "zoho.denied"]
    assert alarm["log_level"] == "error"
    assert REFRESH_TOKEN not in str(alarm)
    state, summary = org.runs()[-1]
    assert state == "refused"
    assert "refresh token" in summary
    with reconnected(org, zoho_refresh_token=SecretStr(granted_again(org))) as again:
        again.converges()


@pytest.mark.parametrize("step", ["read crm", "planned"])
def test_a_throttled_token_endpoint_ends_the_run_until_it_opens_again(org, step):
    def throttle() -> None:
        org.switch(oauth__tokens_per_10_min=1)
        forget_access_tokens(org)

    ended = org.attempt(progress=org.at(step, throttle))
    if isinstance(ended, ServiceError):
        assert isinstance(ended, QuotaExhausted)
        assert ended.until is not None
    else:
        assert ended.changes.stopped
    asked = org.sim.control("meter")["calls"]["oauth"]
    assert isinstance(org.attempt(), QuotaExhausted)
    assert org.sim.control("meter")["calls"]["oauth"] == asked
    org.later(A_DAY)
    org.converges()


@pytest.mark.parametrize("step", ["observing", "planned"])
def test_an_organisation_that_moves_to_another_data_centre_is_not_written_to_until_it_is_back(org, step):
    def move() -> None:
        forget_access_tokens(org)
        org.switch(dc__home="us")
        org.sim.world.ports[int(org.sim.url.rpartition(":")[2])] = "eu"

    ended = org.attempt(progress=org.at(step, move))
    if isinstance(ended, ServiceError):
        assert isinstance(ended, ZohoDenied | QuotaExhausted)
        assert "data centre" in str(ended)
    else:
        assert ended.changes.stopped
    before = org.products()
    assert isinstance(org.attempt(), ZohoDenied)
    assert org.products() == before
    org.switch(dc__home="eu")
    org.sim.world.ports.clear()
    org.later(A_DAY)
    org.converges()


TAKEN = {
    "the flag": ["Contacts.Email_Opt_Out"],
    "an address": ["Contacts.Secondary_Email"],
    "the view": ["Leads.Newsletter"],
    "a module": ["Contacts"],
}


@pytest.mark.parametrize("what", TAKEN)
def test_without_a_mapped_field_or_module_nothing_is_written_and_the_error_names_it(org, what):
    org.run(applying=False)
    before = org.products()
    org.sim.control("crm/remove", {"names": TAKEN[what]})
    with pytest.raises(ZohoError, match=r"policies/zoho\.toml") as raised:
        org.run()
    assert TAKEN[what][0].partition(".")[2] in str(raised.value)
    assert org.products() == before
    org.sim.control("crm/remove", {"names": []})
    org.converges()


@pytest.mark.parametrize(
    ("what", "step"),
    [("the flag", "planned"), ("a module", "planned"), ("the flag", "written crm:Contacts/")],
)
def test_a_field_or_module_that_goes_in_mid_run_proves_nothing_until_it_is_back(org, what, step):
    names = TAKEN[what]
    ended = org.attempt(progress=org.at(step, lambda: org.sim.control("crm/remove", {"names": names})))
    if not isinstance(ended, ServiceError):
        assert ended.remaining
    assert not [
        fields
        for fields in org.enforcements()
        if fields["target"].startswith(f"crm:{names[0].partition('.')[0]}/")
    ]
    org.sim.control("crm/remove", {"names": []})
    org.converges()


EVER = 10_000


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "INVALID_DATA", "INVALID_DATA"),
        (403, "NO_PERMISSION", "profile of the API user"),
        (401, "OAUTH_SCOPE_MISMATCH", "refresh token"),
    ],
)
def test_writes_that_crm_refuses_from_one_day_to_the_next_are_told_and_prove_nothing(
    org, status, code, words
):
    refused = f'{{"code":"{code}","details":{{}},"message":"no","status":"error"}}'
    org.breaks("PUT /crm/v8/", "status", EVER, status=status, body=refused)
    ended = org.run()
    assert words in str(ended.changes.stopped) + str(changes_left(org))
    assert ended.remaining
    assert not [fields for fields in org.enforcements() if fields["target"].startswith("crm:")]
    org.mends()
    org.converges()


@contextmanager
def impostor(folder: Path, name: str = "localhost", days: range = range(-1, 2)) -> Iterator[Impostor]:
    """Serve TLS on loopback with a certificate for `name`, valid on these days from today."""
    certificate, key = self_signed(folder, name, days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                line, _ = listener.accept()
                with suppress(OSError), context.wrap_socket(line, server_side=True) as secure:
                    heard.append(secure.recv(1 << 16))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield Impostor(f"https://localhost:{listener.getsockname()[1]}", certificate, heard)
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def self_signed(folder: Path, host: str, days: range) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + timedelta(days=days.start))
        .not_valid_after(now + timedelta(days=days.stop - 1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (folder / "certificate").write_bytes(certificate.public_bytes(pem))
    (folder / "key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return folder / "certificate", folder / "key"


@pytest.mark.parametrize("product", ["crm", "campaigns", "accounts"])
def test_who_cannot_show_a_valid_certificate_is_told_nothing_and_the_error_says_so(org, tmp_path, product):
    before = org.products()
    with (
        impostor(tmp_path) as other,
        reconnected(org, **{f"zoho_{product}_url": other.url}) as lost,
    ):
        ended = lost.attempt()
    assert isinstance(ended, Unreachable)
    assert "certificate" in str(ended)
    assert f"CONSENT_ZOHO_{product.upper()}_URL" in str(ended)
    assert not other.heard
    assert org.products() == before
    org.converges()


@pytest.mark.parametrize(
    ("name", "days", "words"),
    [("localhost", range(-3, 0), "has expired"), ("zoho.example", range(-1, 2), "not valid for 'localhost'")],
)
def test_what_is_wrong_with_a_certificate_is_said(tmp_path, name, days, words):
    with impostor(tmp_path, name, days) as other:
        authorities = ssl.create_default_context(cafile=other.certificate)
        with closing(Line(authorities=authorities)) as line:
            lost = line.exchange("GET", other.url)
    assert not lost.sent
    assert words in lost.why
    assert not other.heard


@pytest.mark.parametrize("product", ["crm", "campaigns", "accounts"])
def test_a_host_name_that_does_not_exist_is_told_apart_from_a_network_that_is_down(org, product):
    with reconnected(org, **{f"zoho_{product}_url": "https://nowhere.invalid"}) as lost:
        ended = lost.attempt()
    assert isinstance(ended, Unreachable)
    assert "no such host name" in str(ended)
    assert f"CONSENT_ZOHO_{product.upper()}_URL" in str(ended)


def test_a_withdrawal_while_nothing_is_reached_is_kept_and_carried_out_afterwards(org):
    org.run()
    email = org.ordinary()
    with reconnected(org, zoho_crm_url="http://127.0.0.1:1", zoho_campaigns_url="http://127.0.0.1:1") as lost:
        assert isinstance(lost.attempt(), Unreachable)
        lost.intake.record([withdrawal(email)])
    org.converges()
    assert stopped(org, email)
