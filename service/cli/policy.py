"""Commands for those who decide the rules: check a set, see what it would change, adopt it."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from service import app, settings
from service.anchor import attestation
from service.cli import show
from service.cli.ask import purpose, record_look_up
from service.cli.ruling import as_data, tell, turning
from service.errors import Misconfigured, Refused
from service.intake import Intake
from service.intake.policies import adopt, adopted, refold
from service.policy import PolicySet, files, load_files
from service.policy.checking import check
from service.reports.ruling import Difference, difference

ADOPTED = "adopted"
"""In place of a folder: the set that was adopted last, as the ledger keeps it."""
_SHOWN = click.option("--limit", default=20, show_default=True, help="How many people to list of each kind.")
_NAMES = click.option(
    "--names",
    "reason",
    metavar="PURPOSE",
    callback=purpose,
    help="Show addresses beside the pseudonyms that are listed; why you ask is recorded for each of them.",
)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def policy() -> None:
    """Check, compare and adopt the rules in policies/."""


@policy.command("check")
@click.argument("folder", required=False, type=_FOLDER)
def check_set(folder: Path | None) -> None:
    """Say all that is wrong with a set, with file and line, and run every rule's own examples.

    FOLDER is CONSENT_POLICIES_DIR unless one is given. Exits 1 if anything is wrong.
    """
    folder = folder or settings.load().policies_dir
    found = files.read(folder)
    problems = check(found) + attestation.problems(found, folder)
    for problem in problems:
        click.echo(problem.within(folder))
    if problems:
        click.echo(f"{len(problems)} to correct; nothing was changed", err=True)
        sys.exit(1)
    known = load_files(found)
    rules = [rule for law in known.jurisdictions.values() for rule in law.rules]
    examples = sum(len(rule.tests) for rule in rules)
    states = ", ".join(f"{sum(r.status == s for r in rules)} {s}" for s in ("active", "draft", "retired"))
    click.echo(f"good: {len(rules)} rules ({states}), {examples} examples hold; digest {known.digest.hex()}")


@policy.command("diff")
@click.argument("old")
@click.argument("new", type=_FOLDER)
@_SHOWN
@_NAMES
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with everybody in it.")
def diff(old: str, new: Path, limit: int, reason: str | None, *, as_json: bool) -> None:
    """Replay the ledger under two sets: who could be mailed, or no longer; which clocks would be late.

    OLD is a folder, or the word "adopted"; NEW is a folder. Nothing is changed.
    """
    if reason and as_json:
        raise click.UsageError("names are shown to people, not in JSON; leave out --json or --names")
    out = show.console(quiet=as_json)
    after = _checked(new)
    with app.running(settings.load()) as parts, show.steps(out, quiet=as_json) as progress:
        found = _compared(parts.intake, _before(parts.intake, old), after, progress)
        names = _names(parts, found, limit, reason) if reason else {}
    if as_json:
        click.echo(json.dumps(as_data(found), indent=2))
    else:
        tell(out, found, limit, names)


@policy.command("adopt")
@click.argument("folder", required=False, type=_FOLDER)
@click.option("--by", required=True, help="Who decides this; kept beside the entry, not in it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_SHOWN
def adopt_set(folder: Path | None, by: str, limit: int, *, yes: bool) -> None:
    """Adopt a set: show what it changes, append `policy.adopted`, fold every standing again.

    FOLDER is CONSENT_POLICIES_DIR unless one is given. Processes that run take up the rules of their own
    CONSENT_POLICIES_DIR when they are started again.
    """
    chosen, out = settings.load(), show.console()
    new = _checked(folder or chosen.policies_dir)
    with app.running(chosen) as parts, show.steps(out) as progress:
        with parts.db.read() as tx:
            before = adopted(parts.intake, tx)
        if before is not None and before.policy.digest != new.digest:
            tell(out, _compared(parts.intake, before.policy, new, progress), limit)
            if not yes and not click.confirm("Adopt this set?"):
                raise Refused("the set was not adopted; nothing was changed")
        index = adopt(parts.intake, new, by=by)
        people = refold(parts.intake, new, lambda done: progress("standings folded again", done, 0))
    click.echo(f"adopted by entry {index}: {new.digest.hex()}; {people:,} people's standings folded again")
    if folder is not None and folder.resolve() != chosen.policies_dir.resolve():
        click.echo("put these files into CONSENT_POLICIES_DIR and start serve and worker again", err=True)


def _checked(folder: Path) -> PolicySet:
    """Return the set of a folder; raises `Misconfigured` with its first problem."""
    found = files.read(folder)
    if problems := check(found) + attestation.problems(found, folder):
        raise Misconfigured(
            f"{problems[0].within(folder)} "
            f"({len(problems)} in all; `consent-ledger policy check {folder}` says each)"
        )
    return load_files(found)


def _before(intake: Intake, old: str) -> PolicySet:
    if old != ADOPTED:
        return load_files(files.read(Path(old)))
    with intake.db.read() as tx:
        found = adopted(intake, tx)
    if found is None:
        raise Misconfigured("this ledger keeps no adopted set yet; name the folder of the old one")
    return found.policy


def _compared(intake: Intake, old: PolicySet, new: PolicySet, progress: show.Progress) -> Difference:
    with intake.db.read() as tx:
        return difference(
            tx, intake, old, new, at=intake.now(), told=lambda n: progress("people looked at", n, 0)
        )


def _names(parts: app.Parts, found: Difference, limit: int, reason: str) -> Mapping[bytes, str]:
    """Return the addresses of those who are listed, after a look-up of each was recorded."""
    shown: list[bytes] = [
        *(one.subject for kind in (True, False) for one in turning(found, mailable=kind)[:limit]),
        *(one.subject for one in found.newly_late[:limit]),
    ]
    with parts.db.read() as tx:
        names = parts.intake.vault.addresses_of(tx, list(dict.fromkeys(shown)))
    for address in names.values():
        record_look_up(parts, address, reason, "policy diff")
    return names
