import io
import zipfile
from dataclasses import replace
from datetime import timedelta

import pytest

from service.errors import Tampered
from service.ledger import archive, bundle
from service.ledger.note import open_note
from tests.ledger.evidence import LOG, ORIGIN, WHEN, assemble, complete, flipped, genesis_entry, small


def test_a_bundle_reads_back():
    assert bundle.read(bundle.write(small(), LOG)) == small()


def test_a_bundle_that_shows_its_completeness_reads_back():
    assert bundle.read(bundle.write(complete(), LOG)) == complete()


def test_the_same_bundle_always_gives_the_same_bytes():
    backwards = replace(small(), items=small().items[::-1])
    assert bundle.write(small(), LOG) == bundle.write(backwards, LOG)


def test_any_zip_program_opens_a_bundle():
    with zipfile.ZipFile(io.BytesIO(bundle.write(small(), LOG))) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == [
            "README.txt",
            "checkpoint",
            "disclosures/2.json",
            "disclosures/5.json",
            "entries/0.tlog-proof",
            "entries/2.tlog-proof",
            "entries/5.tlog-proof",
            "history.json",
            "manifest",
            "question.json",
        ]


def test_the_manifest_is_signed_by_the_log_and_names_every_other_member():
    files = archive.unpack(bundle.write(small(), LOG))
    title, origin, *lines, end = open_note(files["manifest"], [LOG.verifier]).text.decode().split("\n")
    assert (title, origin, end) == ("consent-ledger bundle v1", ORIGIN, "")
    assert [line.partition("  ")[2] for line in lines] == sorted(files.keys() - {"manifest"})


def test_the_readme_says_in_plain_words_what_this_is_and_what_it_does_not_show():
    readme = archive.unpack(bundle.write(small(), LOG))["README.txt"].decode()
    for words in ("ana@example.org", ORIGIN, "consent-ledger verify", "What it does not show"):
        assert words in readme


def test_an_address_that_looks_like_a_format_string_is_kept_as_it_is():
    odd = assemble({0: genesis_entry()}, {}, address="{origin}%s@example.org")
    assert bundle.read(bundle.write(odd, LOG)) == odd
    assert b"{origin}%s@example.org" in archive.unpack(bundle.write(odd, LOG))["README.txt"]


def test_the_time_of_the_question_is_kept_to_the_millisecond():
    late = replace(small(), asked_at=WHEN + timedelta(microseconds=5_999))
    assert bundle.read(bundle.write(late, LOG)).asked_at == WHEN + timedelta(milliseconds=5)


def test_a_reader_accepts_only_what_a_writer_writes():
    data = bundle.write(small(), LOG)
    readable = archive.unpack(data)
    signed_only = {
        "manifest",
        "README.txt",
        "history.json",
        "checkpoint",
    }  # free text, which signatures cover
    for name in readable.keys() - signed_only:
        for content in (readable[name] + b" ", b"", b"{}"):
            with pytest.raises(Tampered):
                bundle.read(archive.pack({**readable, name: content}))
    with pytest.raises(Tampered, match="read back"):
        bundle.read(archive.pack({**readable, "more": b""}))


@pytest.mark.parametrize("name", ["README.txt", "checkpoint", "history.json", "manifest", "question.json"])
def test_a_bundle_without_one_of_its_fixed_members_is_refused(name):
    files = archive.unpack(bundle.write(small(), LOG))
    del files[name]
    with pytest.raises(Tampered, match=f"lacks {name}"):
        bundle.read(archive.pack(files))


def test_a_change_to_any_byte_of_the_file_is_refused_even_without_a_key():
    for changed in flipped(bundle.write(small(), LOG)):
        with pytest.raises(Tampered):
            bundle.read(changed)
