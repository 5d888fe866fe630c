"""The fixed names of the simulated organisation: ids, keys and labels that a mapping file may quote.

They are constants, so that `policies/zoho.toml` fits every simulated organisation, whatever its
size and seed.
"""

CLIENT_ID = "1000.SIMULATOR"
CLIENT_SECRET = "simulator-secret"  # noqa: S105 - opens nothing but this simulator
REFRESH_TOKEN = "1000.simulator.refresh"  # noqa: S105 - the same

ZAPIKEY = "simulator-zapikey"
"""The key of the Campaigns Email API, v2."""

ORG_ZGID = "7000000001"
ORG_ID = "5725767000000020405"

LIST_KEY = "3z0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"
LIST_NAME = "Newsletter"
SIGNUP_LIST_KEY = "3z89abcdef0123456789abcdef0123456789abcdef"
SIGNUP_LIST_NAME = "Events"

STOP_WORKFLOW = "3zd41d8cd98f00b204e9800998ecf8427e0badcafe"
STOP_TRIGGER = "3z5f4dcc3b5aa765d61d8327deb882cf99"
"""The workflow that takes whoever is triggered off every list, and the key that triggers it."""

TOPIC_ID = "80696000000044001"
TOPIC_NAME = "Newsletter"

PERMISSION_LABEL = "Marketing Permission"
GRANTED = "Granted"
REFUSED = "Refused"
GRANTED_SEGMENT = "80696000000061001"
REFUSED_SEGMENT = "80696000000061003"

VIEWS = {
    "Contacts": "5725767000000087501",
    "Leads": "5725767000000087503",
    "Guests": "5725767000000087505",
}
"""Custom view of each module that feeds the list: the records whose `Newsletter` is ticked."""

COUNTRY_FIELD = {"Contacts": "Mailing_Country", "Leads": "Country"}
"""The modules that people are planted in."""
STATE_FIELD = {"Contacts": "Mailing_State", "Leads": "State"}
GUESTS = "Guests"
"""A module of the organisation's own with an e-mail field; not there, and empty, until an admin makes it."""


def policy_toml(_url: str = "") -> str:
    """Return a field mapping, as `policies/zoho.toml` holds one, that fits every simulated organisation.

    Nothing in the mapping depends on the address: hosts are settings, not policy.
    """
    modules = "".join(
        f'[[crm.modules]]\nname = "{module}"\nemails = ["Email", "Secondary_Email"]\n'
        f'country = "{country}"\nstate = "{STATE_FIELD[module]}"\n\n'
        for module, country in COUNTRY_FIELD.items()
    )
    return (
        'governs = "marketing"\n\n'
        '[crm]\nopt_out_field = "Email_Opt_Out"\nmode_field = "Unsubscribed_Mode"\n'
        'time_field = "Unsubscribed_Time"\nsweep = "cheapest"\nbulk_write_from = 0\n\n'
        f"{modules}"
        '[campaigns]\naddress_label = "Contact Email"\n'
        f'permission_label = "{PERMISSION_LABEL}"\ngranted = "{GRANTED}"\nrefused = "{REFUSED}"\n'
        f'granted_segment = "{GRANTED_SEGMENT}"\nrefused_segment = "{REFUSED_SEGMENT}"\n\n'
        f'[[campaigns.lists]]\nname = "newsletter"\nkey = "{LIST_KEY}"\npurpose = "marketing"\n'
        f'topic = "{TOPIC_ID}"\nview_field = "Newsletter"\npush_on_change = true\n'
    )
