"""Zoho's data centres: where each answers. Pure.

Facts `zoho-crm` section 1.1 and `zoho-campaigns` section 1.1. The eight that both products attest; an
organisation elsewhere sets the three CONSENT_ZOHO_*_URL instead.
"""

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Centre:
    """One data centre; `name` is what Zoho's redirect calls its `location`."""

    name: str
    place: str
    accounts_url: str
    crm_url: str
    campaigns_url: str
    console_url: str
    """Where an admin makes clients and grant codes."""


def _centre(name: str, place: str, domain: str, *, accounts: str = "", api: str = "") -> Centre:
    """Return a data centre; `accounts` is the domain of everything but the API, where they differ."""
    people = accounts or f"zoho.{domain}"
    return Centre(
        name=name,
        place=place,
        accounts_url=f"https://accounts.{people}",
        crm_url=f"https://www.zohoapis.{api or domain}",
        campaigns_url=f"https://campaigns.{people}",
        console_url=f"https://api-console.{people}",
    )


CENTRES = MappingProxyType(
    {
        centre.name: centre
        for centre in (
            _centre("us", "United States", "com"),
            _centre("eu", "Europe", "eu"),
            _centre("in", "India", "in"),
            _centre("au", "Australia", "com.au"),
            _centre("jp", "Japan", "jp"),
            _centre("cn", "China", "com.cn"),
            _centre("ca", "Canada", "ca", accounts="zohocloud.ca"),
            _centre("sa", "Saudi Arabia", "sa"),
        )
    }
)


def of_accounts_url(url: str) -> Centre | None:
    """Return the data centre whose accounts host this is, None for any other address."""
    wanted = url.rstrip("/").lower()
    return next((centre for centre in CENTRES.values() if centre.accounts_url == wanted), None)
