"""Made-up people: names, addresses at reserved domains, countries and dates, the same for the same seed."""

import unicodedata
from dataclasses import dataclass
from random import Random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST = _words(
    """
    Ada Amara Anders Anja Arjun Aylin Beatriz Björn Camille Carlos Chidi Chloé Daniel Daria Elif Emma
    Erik Fatima Felix Fiona Gábor Giulia Grace Hannah Hiro Ingrid Isaac Jana João Jonas Joy Julia Kai
    Karin Lars Léa Liam Lucía Maja Marco Mei Mia Milan Nadia Nils Noor Olga Omar Otto Petra Pierre Priya
    Quentin Rosa Ruth Samir Sarah Sofia Sven Tara Thomas Uma Valentina Viktor Wendy Xenia Yara Yusuf Zoë
    Zuzana
    """
)
LAST = _words(
    """
    Adeyemi Andersson Bauer Becker Bianchi Boyle Brown Castro Chen Costa Dubois Dvořák Eriksen Fischer
    Fontaine García Gomez Gruber Haddad Hansen Hoffmann Horváth Ibrahim Ivanova Jansen Johnson Kaya
    Keller Kim Kowalski Kumar Lambert Larsen Lefèvre Lindqvist Lopez Martin Mendes Meyer Moreau Murphy
    Müller Nakamura Ncube Nguyen Novak O'Connor Okafor Olsen Patel Pereira Petrov Quinn Ramos Rossi Sato
    Schmidt Schneider Silva Singh Smith Suzuki Tanaka Taylor Thomsen Torres Urban Vega Virtanen Wagner
    Walsh Weber Wilson Wójcik Yilmaz Zhang Zimmermann
    """
)
DOMAINS = (
    "example.com",
    "example.org",
    "example.net",
    "mail.example.com",
    "gmail.example.com",
    "post.example.org",
)
COUNTRIES: tuple[str | None, ...] = (
    *("Germany",) * 8,
    *("United States",) * 5,
    *("Canada",) * 3,
    *("Australia",) * 2,
    *("United Kingdom",) * 3,
    *("France",) * 3,
    *(None,) * 2,
)
STATES: tuple[str | None, ...] = ("California", "New York", "Texas", "CA", None)
"""As staff write the states of the USA, and where they leave them out."""
DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One person as both products may know them; times in seconds since the epoch."""

    number: int
    first_name: str
    last_name: str
    email: str
    phone: str | None
    country: str | None
    state: str | None
    module: str
    created_at: int


def invent(rng: Random, number: int, *, earliest: int, latest: int) -> Person:
    """Return person `number`, who entered CRM between the two times; nine of ten are Contacts."""
    first, last = rng.choice(FIRST), rng.choice(LAST)
    email = f"{_plain(first)}.{_plain(last)}{number}@{rng.choice(DOMAINS)}"
    phone = f"+1 555 {rng.randrange(10_000_000):07d}" if rng.random() < 0.5 else None  # noqa: PLR2004 - half
    country = rng.choice(COUNTRIES)
    return Person(
        number=number,
        first_name=first,
        last_name=last,
        email=email,
        phone=phone,
        country=country,
        state=STATES[number % len(STATES)] if country == "United States" else None,
        module="Contacts" if rng.random() < 0.9 else "Leads",  # noqa: PLR2004 - nine of ten
        created_at=rng.randrange(earliest, latest),
    )


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in decomposed if letter.isascii() and letter.isalpha()).lower()
