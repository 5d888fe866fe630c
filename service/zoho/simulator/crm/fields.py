"""The fields of each CRM module: what they are called, what they hold, who may write them."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from service.zoho.simulator.names import COUNTRY_FIELD, GUESTS, STATE_FIELD


class Kind(StrEnum):
    """What a field holds; the value is Zoho's `data_type`."""

    ID = "bigint"
    TEXT = "text"
    EMAIL = "email"
    PHONE = "phone"
    BOOLEAN = "boolean"
    PICKLIST = "picklist"
    DATETIME = "datetime"
    USER = "ownerlookup"


JSON_TYPES = {Kind.BOOLEAN: "boolean", Kind.USER: "jsonobject"}
"""Zoho's `json_type` where it is not `string`."""

SQL_TYPES = {
    Kind.ID: "INTEGER PRIMARY KEY",
    Kind.TEXT: "TEXT COLLATE NOCASE",
    Kind.EMAIL: "TEXT COLLATE NOCASE",
    Kind.PHONE: "TEXT",
    Kind.BOOLEAN: "INTEGER NOT NULL DEFAULT 0",
    Kind.PICKLIST: "TEXT COLLATE NOCASE",
    Kind.DATETIME: "INTEGER",
    Kind.USER: "INTEGER",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field; `stored` is false for what CRM works out from others."""

    api_name: str
    label: str
    kind: Kind = Kind.TEXT
    read_only: bool = False
    mandatory: bool = False
    custom: bool = False
    stored: bool = True
    external: bool = False
    length: int = 100
    picks: tuple[str, ...] = ()


COUNTRIES = ("Germany", "United States", "Canada", "Australia", "United Kingdom", "France")
UNSUBSCRIBED_MODES = ("Unsubscribe link", "Manual", "Zoho campaigns", "Consent form")


_PERSON = (
    Field(api_name="First_Name", label="First Name", length=40),
    Field(api_name="Last_Name", label="Last Name", mandatory=True, length=80),
    Field(api_name="Full_Name", label="Full Name", read_only=True, stored=False, length=80),
)
_OWN = (Field(api_name="Name", label="Guest Name", mandatory=True, length=120),)
"""What a record is called: people have two names and one made of them, records of one's own have one."""


def _module(
    country_field: str, called: tuple[Field, ...] = _PERSON, state_field: str | None = None
) -> MappingProxyType[str, Field]:
    fields = (
        Field(api_name="id", label="Record Id", kind=Kind.ID, read_only=True, length=20),
        *called,
        Field(api_name="Email", label="Email", kind=Kind.EMAIL),
        Field(api_name="Secondary_Email", label="Secondary Email", kind=Kind.EMAIL),
        Field(api_name="Phone", label="Phone", kind=Kind.PHONE, length=30),
        Field(api_name=country_field, label=country_field.replace("_", " ")),
        Field(
            api_name="Lead_Source", label="Lead Source", kind=Kind.PICKLIST, picks=("Web", "Fair", "Partner")
        ),
        Field(api_name="Email_Opt_Out", label="Email Opt Out", kind=Kind.BOOLEAN, length=5),
        Field(
            api_name="Unsubscribed_Mode",
            label="Unsubscribed Mode",
            kind=Kind.PICKLIST,
            read_only=True,
            picks=UNSUBSCRIBED_MODES,
        ),
        Field(api_name="Unsubscribed_Time", label="Unsubscribed Time", kind=Kind.DATETIME, read_only=True),
        Field(api_name="Newsletter", label="Newsletter", kind=Kind.BOOLEAN, custom=True, length=5),
        Field(api_name="Owner", label="Owner", kind=Kind.USER),
        Field(api_name="Created_By", label="Created By", kind=Kind.USER, read_only=True),
        Field(api_name="Modified_By", label="Modified By", kind=Kind.USER, read_only=True),
        Field(api_name="Created_Time", label="Created Time", kind=Kind.DATETIME, read_only=True),
        Field(api_name="Modified_Time", label="Modified Time", kind=Kind.DATETIME, read_only=True),
        Field(api_name="Bounce_Reason", label="Bounce Reason", custom=True, length=120),
        Field(api_name="Customer_Number", label="Customer Number", custom=True, external=True, length=40),
        *((Field(api_name=state_field, label=state_field.replace("_", " ")),) if state_field else ()),
    )
    return MappingProxyType({f.api_name: f for f in fields})


MODULES = MappingProxyType(
    {
        **{
            module: _module(country, _PERSON, STATE_FIELD[module])
            for module, country in COUNTRY_FIELD.items()
        },
        GUESTS: _module("Country", _OWN),
    }
)
MODULE_IDS = {
    "Leads": "5725767000000002175",
    "Contacts": "5725767000000002179",
    GUESTS: "5725767000000411175",
}
CUSTOM = frozenset({GUESTS})
"""Modules of the organisation's own, which the scope `ZohoCRM.modules.custom` opens as well."""


def name_field(module: str) -> str:
    """Return the one mandatory field, by which records are shown in lists."""
    return "Name" if module in CUSTOM else "Last_Name"


def field_id(module: str, field: Field) -> str:
    """Return a stable id of the field, in Zoho's style."""
    position = list(MODULES[module]).index(field.api_name)
    return str(int(MODULE_IDS[module]) + 12_000 + 2 * position)
