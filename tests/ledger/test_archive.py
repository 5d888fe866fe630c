import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Tampered, TooLarge
from service.ledger import archive

NAMES = st.text(alphabet="abcXYZ019./-", min_size=1, max_size=20)
MEMBERS = st.dictionaries(NAMES, st.binary(max_size=50), max_size=6)


@given(MEMBERS)
def test_what_is_packed_unpacks_and_any_zip_program_reads_it(members):
    data = archive.pack(members)
    assert archive.unpack(data) == members
    with zipfile.ZipFile(io.BytesIO(data)) as foreign:
        assert foreign.testzip() is None
        assert foreign.namelist() == sorted(members)
        assert {name: foreign.read(name) for name in members} == members


def test_the_order_of_members_makes_no_difference():
    assert archive.pack({"b": b"2", "a": b"1"}) == archive.pack({"a": b"1", "b": b"2"})


def test_a_zip_of_stored_members_by_another_program_unpacks_but_is_spelled_differently():
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as foreign:
        foreign.writestr("b", b"2")
        foreign.writestr("a", b"1")
    assert archive.unpack(written.getvalue()) == {"a": b"1", "b": b"2"}
    assert archive.pack({"a": b"1", "b": b"2"}) != written.getvalue()


def test_a_compressed_zip_is_refused():
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as foreign:
        foreign.writestr("a", b"1" * 100)
    with pytest.raises(Tampered, match="another program"):
        archive.unpack(written.getvalue())


def test_a_member_that_stands_there_twice_is_refused():
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as foreign:
        foreign.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            foreign.writestr("a", b"2")
    with pytest.raises(Tampered, match="twice"):
        archive.unpack(written.getvalue())


@given(MEMBERS, st.data())
def test_a_file_that_is_cut_or_changed_does_not_pack_to_itself_again(members, data):
    whole = archive.pack(members)
    position, flip = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    changed = bytearray(whole)
    changed[position] ^= flip
    for bad in (bytes(changed), whole[:position], whole + b"\0"):
        try:
            members = archive.unpack(bad)
        except Tampered:
            continue
        assert archive.pack(members) != bad


@given(st.binary(max_size=200))
def test_bytes_that_are_no_zip_are_refused_and_never_break_the_reader(data):
    with pytest.raises(Tampered):
        archive.unpack(data)


def test_more_members_than_the_format_counts_are_refused():
    with pytest.raises(TooLarge):
        archive.pack({str(number): b"" for number in range(archive.MAX_MEMBERS + 1)})
