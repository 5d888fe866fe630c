from datetime import UTC, datetime

import msgspec
import pytest

from service.zoho.records import layouts, moment, same_address, spellings


def test_the_select_list_of_a_module_is_what_the_mapping_names_and_no_more(mapping):
    assert layouts(mapping)["Contacts"].columns == (
        "id",
        "Email",
        "Secondary_Email",
        "Email_Opt_Out",
        "Unsubscribed_Mode",
        "Unsubscribed_Time",
        "Mailing_Country",
        "Mailing_State",
        "Modified_Time",
        "Modified_By",
        "Created_Time",
        "Newsletter",
    )
    assert "Country" in layouts(mapping)["Leads"].columns


def test_a_row_becomes_a_record_with_utc_times_and_the_lists_whose_view_it_is_in(mapping):
    record = layouts(mapping)["Contacts"].read(
        {
            "id": "5725767000000524157",
            "Email": "Ada@Example.com",
            "Secondary_Email": None,
            "Email_Opt_Out": True,
            "Unsubscribed_Mode": "Manual",
            "Unsubscribed_Time": "2026-05-10T01:10:47-07:00",
            "Mailing_Country": "Germany",
            "Modified_Time": "2026-05-10T01:10:47-07:00",
            "Newsletter": True,
        }
    )
    assert record.addresses == ("Ada@Example.com",)
    assert record.opted_out
    assert record.unsubscribed_at == record.modified_at == datetime(2026, 5, 10, 8, 10, 47, tzinfo=UTC)
    assert record.views == frozenset({"newsletter"})
    assert record.country == "Germany"


def test_the_state_is_read_where_the_mapping_names_its_field(mapping):
    layout = layouts(mapping)["Contacts"]
    record = layout.read(ROW | {"Mailing_Country": "USA", "Mailing_State": "California"})
    assert "Mailing_State" in layout.columns
    assert (record.country, record.state) == ("USA", "California")
    contacts = msgspec.structs.replace(mapping.crm.modules[0], state=None)
    crm = msgspec.structs.replace(mapping.crm, modules=(contacts,))
    assert "Mailing_State" not in layouts(msgspec.structs.replace(mapping, crm=crm))["Contacts"].columns


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-05-10T01:10:47", 7])
def test_a_time_without_an_offset_is_no_time(text):
    assert moment(text) is None


def test_one_mailbox_has_several_spellings():
    assert same_address("Ada@Example.com ", "ada@example.COM")
    assert same_address("ada@bücher.example", "ada@xn--bcher-kva.example")
    assert not same_address("ada+x@example.com", "ada@example.com")
    assert not same_address("xada@example.com", "ada@example.com")


def test_a_search_covers_the_spellings_that_crm_may_hold():
    assert spellings("Ada@Example.com") == ["Ada@Example.com", "ada@example.com"]
    assert "ada@bücher.example" in spellings("ada@xn--bcher-kva.example")


ROW = {"id": "1", "Email": "ada@example.com", "Modified_Time": "2026-05-10T01:10:47-07:00"}


@pytest.mark.parametrize(
    ("who", "name"),
    [
        ({"name": "Petra Lindqvist", "id": "7"}, "Petra Lindqvist"),
        ({"id": "7"}, "7"),
        ("7", "7"),
        (None, None),
    ],
)
def test_a_record_says_who_wrote_it_last_as_far_as_crm_tells(mapping, who, name):
    record = layouts(mapping)["Contacts"].read(ROW | {"Email_Opt_Out": False, "Modified_By": who})
    assert record.modified_by == name


@pytest.mark.parametrize(
    ("value", "understood"),
    [(True, True), (False, True), (None, True), ("true", True), ("FALSE", True), ("Yes", False), (1, False)],
)
def test_a_checkbox_that_holds_another_word_is_said_not_to_be_understood(mapping, value, understood):
    record = layouts(mapping)["Contacts"].read(ROW | {"Email_Opt_Out": value})
    assert record.understood is understood
