"""One person, one pseudonym, whatever paper it stands on."""

from service.vault.pseudonym import by_address, by_subject

KEYED = bytes.fromhex("0123456789abcdef") + bytes(24)


def test_a_pseudonym_says_by_what_it_names_a_person_and_shows_eight_bytes_of_it():
    assert by_address(KEYED) == "p-0123456789abcdef"
    assert by_subject(KEYED) == "s-0123456789abcdef"
