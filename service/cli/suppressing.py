"""`consent-ledger suppression`: take the list of everybody who must not be mailed out, and in again.

The list is what a fresh installation needs before anything else: without it everybody would be mailable.
A line is a stop: token (keyed hash of the address), key (whose hash that is), class, purpose (empty: every
one), since, of (how many lines the list has, so that a list that was cut off is noticed), and email where the
list names people.
"""

import csv
import getpass
import json
import secrets
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Final

import click

from service import app, settings
from service.cli.ask import reason_option, write_private
from service.consent import Category
from service.errors import Forbidden, Malformed, ServiceError
from service.intake import Claim
from service.intake.stops import CLASSES, ERASED, Stop, key_check, restore, stops
from service.ledger.entry import format_time
from service.vault import address as addresses
from service.web.auth import check_password, role_of

COLUMNS: Final = ("token", "key", "class", "purpose", "since", "of")
NAMED: Final = frozenset({"legal", "privacy"})
"""Roles that may take a list with addresses out of the house."""
TOKEN_BYTES: Final = 32

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(short_help="Take the list of who must not be mailed out, and in again.")
def suppression() -> None:
    """Take out the list of who must not be mailed, and take one in: a .csv, or one JSON object per line."""


@suppression.command("export")
@click.argument("file", type=_FILE)
@reason_option
@click.option("--addresses", "named", is_flag=True, help="With addresses; needs --as, legal or privacy.")
@click.option("--as", "account", help="Your account; its password is asked for.")
def export(file: Path, reason: str, account: str | None, *, named: bool) -> None:
    """Write every stop that is in force to FILE, by keyed hashes; that it was done is recorded first."""
    password = _password() if named else ""
    with app.running(settings.load()) as parts:
        actor = _allowed(parts, account, password) if named else f"cli.{getpass.getuser()}"
        with parts.db.read() as tx:
            found = list(stops(tx))
            if named:
                known = parts.intake.vault.addresses_of(tx, [one.sub for one in found if one.sub is not None])
                found = [replace(one, address=known.get(one.sub or b"")) for one in found]
        _record_export(parts, actor, reason, len(found), named=named)
        key = key_check(parts.intake.keys.index)
    rows = [_row(one, key, len(found), named=named) for one in found]
    write_private(file, _written(file, rows, named=named))
    _tell(found, "are in the list")


@suppression.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what it would do, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def take_in(file: Path, *, dry_run: bool, yes: bool) -> None:
    """Take in the stops of FILE; it only ever adds stops, and can be given again.

    Hashes are understood only with the keys that they were made with; a list with addresses by everybody.
    """
    with app.running(settings.load()) as parts:
        found = [_stop(parts, row, number) for number, row in enumerate(_rows(file), 1)]
        _tell(found, "are in the list; each is recorded as imported, or kept out where nobody is known")
        if dry_run or not found:
            return
        if not yes:
            click.confirm(
                "Take them in? Nobody is un-stopped by it, and an entry cannot be undone.", abort=True
            )
        done = restore(parts.intake, found, now=app.now())
    click.echo(f"{done.recorded:,} recorded, {done.known:,} known already, {done.kept_out:,} more kept out")
    click.echo("run `consent-ledger reconcile --apply` to carry the stops to both products now")


def _allowed(parts: app.Parts, account: str | None, password: str) -> str:
    if account is None:
        raise Malformed("a list with addresses is written for a person: name your account with --as")
    name = check_password(parts.db, account, password, app.now())
    role = role_of(parts.db, name)
    if role not in NAMED:
        raise Forbidden(f"the role {role} may not take addresses out; ask one of {', '.join(sorted(NAMED))}")
    return name


def _record_export(parts: app.Parts, actor: str, reason: str, count: int, *, named: bool) -> None:
    """Write into the ledger that a list was taken out; without that there is none."""
    claim = Claim(
        category=Category.ACCESS,
        source="auditor",
        key=secrets.token_hex(16),
        received_at=app.now(),
        evidence={
            "purpose_of_lookup": reason,
            "actor": actor,
            "asked_for": "suppression list with addresses" if named else "suppression list",
            "stops": count,
        },
    )
    for outcome in parts.intake.record([claim]):
        if isinstance(outcome, ServiceError):
            raise outcome


def _row(one: Stop, key: str, count: int, *, named: bool) -> dict[str, str]:
    row = {
        "token": one.index.hex(),
        "key": key,
        "class": one.reason,
        "purpose": one.purpose or "",
        "since": format_time(one.since),
        "of": str(count),
    }
    return {**row, "email": one.address or ""} if named else row


def _written(file: Path, rows: Sequence[Mapping[str, str]], *, named: bool) -> bytes:
    if file.suffix.lower() != ".csv":
        return "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    out = StringIO(newline="")
    writer = csv.DictWriter(out, [*COLUMNS, *(["email"] if named else [])])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def _rows(file: Path) -> list[Mapping[str, object]]:
    """Return the lines of a list; raises `Malformed` for one that is none, or that was cut off."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(_read(lines, table=file.suffix.lower() == ".csv"))
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError):
        raise Malformed("this is no suppression list: neither CSV nor one JSON object per line") from None
    if any(not isinstance(row, dict) or row.get("of") != str(len(rows)) for row in rows):
        raise Malformed(
            f"the list was cut off or changed: it has {len(rows)} lines, and says that it had another number "
            "of them; nothing was taken in"
        )
    return rows


def _read(lines: Iterable[str], *, table: bool) -> Iterator[Mapping[str, object]]:
    return iter(csv.DictReader(lines, strict=True)) if table else (json.loads(line) for line in lines)


def _stop(parts: app.Parts, row: Mapping[str, object], number: int) -> Stop:
    told = {name: str(row.get(name) or "") for name in (*COLUMNS, "email")}
    vault = parts.intake.vault
    try:
        since = datetime.fromisoformat(told["since"])
        token = bytes.fromhex(told["token"])
    except ValueError:
        raise Malformed(f"line {number} has no time or no token that can be read") from None
    if since.utcoffset() is None or len(token) != TOKEN_BYTES or told["class"] not in CLASSES:
        raise Malformed(f"line {number} is not as `consent-ledger suppression export` writes it")
    if told["purpose"] and told["purpose"] not in parts.policy.purposes:
        raise Malformed(f"line {number} names a purpose that policies/purposes.toml does not declare")
    address = addresses.parse(told["email"]) if told["email"] else None
    if address is None and told["key"] != key_check(parts.intake.keys.index):
        raise Malformed(
            f"line {number} is a hash under the keys of another installation, which leads to nobody here; "
            "put those keys back, or take in a list with addresses"
        )
    return Stop(
        index=token if address is None else vault.address_index(address),
        reason=told["class"],
        since=since.astimezone(UTC),
        purpose=told["purpose"] or None,
        address=address if told["class"] != ERASED else None,
    )


def _tell(found: Sequence[Stop], words: str) -> None:
    click.echo(f"{len(found):,} stops of {len({one.index for one in found}):,} addresses {words}")
    for reason, count in sorted(Counter(one.reason for one in found).items()):
        click.echo(f"  {reason:20} {count:>12,}")


def _password() -> str:
    if sys.stdin.isatty():
        told: str = click.prompt("Password", hide_input=True)
        return told
    return sys.stdin.readline().rstrip("\n")
