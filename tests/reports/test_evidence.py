import io
import json
import zipfile
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, update

from service.consent import Category
from service.db import happening, payload
from service.errors import Tampered
from service.intake.access import look_up
from service.ledger.verify import State, verify_bundle
from service.reports.evidence import bundle
from service.reports.redaction import closed
from tests.opening import open_wall
from tests.running import claim, keys, withdrawal

ANA = "ana@example.org"
AT = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def ana(intake):
    intake.record([claim(ANA), claim("bo@example.org"), withdrawal(ANA)])
    return intake


def members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_bundle_verifies_with_the_logs_public_key_and_nothing_else(ana):
    verdict = verify_bundle(bundle(ana, ANA, at=AT), keys().log.vkey)
    assert verdict.state is State.GOOD
    assert verdict.checked["entries proven to be in the log"] == 5


def test_a_bundle_does_not_verify_with_another_logs_key(ana):
    other = keys(log="another").log.vkey
    assert verify_bundle(bundle(ana, ANA, at=AT), other).state is State.BAD


def test_a_bundle_holds_the_readable_history_and_nobody_else(ana):
    files = members(bundle(ana, ANA, at=AT))
    told = json.loads(files["history.json"])
    assert [record["category"] for record in told["records"]] == [
        "subject.opened",
        "consent.granted",
        "consent.withdrawn",
    ]
    assert told["standing_now"][0]["state"] == "refused"
    assert not any(b"bo@example.org" in data for data in files.values())


def test_the_same_question_at_the_same_moment_gives_the_same_bytes(ana):
    assert bundle(ana, ANA, at=AT) == bundle(ana, ANA, at=AT)


def test_a_bundle_about_a_stranger_says_so_and_verifies(ana):
    data = bundle(ana, "nobody@example.org", at=AT)
    assert verify_bundle(data, keys().log.vkey).state is State.GOOD
    assert json.loads(members(data)["history.json"])["subject"] is None


def test_no_bundle_is_given_of_a_person_whose_details_are_missing(ana):
    with ana.db.begin() as tx:
        tx.execute(delete(payload).where(payload.c.sub == ana.vault.find(tx, ANA)))
    with pytest.raises(Tampered, match="no erasure of this person is recorded"):
        bundle(ana, ANA, at=AT)


def test_no_bundle_is_given_of_a_ledger_whose_rows_were_changed(ana):
    with open_wall(ana.db, "event"), ana.db.begin() as tx:
        tx.execute(
            update(happening).where(happening.c.category == "consent.withdrawn").values(source="import")
        )
    with pytest.raises(Tampered):
        bundle(ana, ANA, at=AT)


@pytest.fixture
def looked_at(ana):
    """Somebody of the staff looked Ana up, and a server named somebody else in its answer."""
    with ana.db.read() as tx:
        look = look_up(
            ana.vault,
            tx,
            address=ANA,
            actor="leopoldine",
            reason="Bo asked",
            asked_for="history",
            at=datetime.now(UTC),
        )
    diagnostic = {"diagnostic": "forwarded to cyd@example.org: mailbox full", "smtp_status": "4.2.2"}
    ana.record([look, claim(ANA, category=Category.BOUNCE_SOFT, source="api:mta", evidence=diagnostic)])
    return ana


def test_a_bundle_names_no_staff_and_nobody_else_and_still_verifies(looked_at):
    data = bundle(looked_at, ANA, at=AT)
    assert verify_bundle(data, keys().log.vkey).state is State.GOOD
    for told in members(data).values():
        assert not any(word in told for word in (b"leopoldine", b"Bo asked", b"cyd@example.org"))
    records = json.loads(members(data)["history.json"])["records"]
    assert [record["evidence"]["closed"] for record in records if "closed" in (record["evidence"] or {})] == [
        ["actor", "purpose_of_lookup"],
        ["diagnostic"],
    ]


def test_an_auditors_bundle_opens_them_on_demand(looked_at):
    data = bundle(looked_at, ANA, at=AT, with_staff=True)
    assert verify_bundle(data, keys().log.vkey).state is State.GOOD
    told = json.loads(members(data)["history.json"])["records"]
    assert ("leopoldine", "Bo asked") in [
        (one["evidence"].get("actor"), one["evidence"].get("purpose_of_lookup"))
        for one in told
        if one["evidence"]
    ]


def test_the_signed_line_of_a_look_up_names_nobody(looked_at):
    with looked_at.db.read() as tx:
        lines = looked_at.store.entries(tx, range(looked_at.store.size(tx))).values()
    assert not any(b"leopoldine" in line for line in lines)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"email": ANA, "page_url": "https://acme.example/news"}, set()),
        ({"email": "ANA@Example.org"}, set()),
        ({"headers": {"to": ["x@example.org"]}}, {"headers"}),
        ({"diagnostic": f"<{ANA}>: unknown"}, set()),
        ({"note": "", "via": "terminal", "reason": "x"}, {"note", "via", "reason"}),
    ],
)
def test_what_is_about_somebody_else_is_closed_and_nothing_more(fields, kept):
    assert closed(fields, ANA) == kept
