"""Commands that make the ledger forget: erase, rekey-directory, verify-erasure, and the end of a log."""

from pathlib import Path

import click

from service import app, settings
from service.cli import show
from service.cli.ask import write_private
from service.cli.verify import log_keys
from service.consent import Category
from service.errors import Malformed
from service.intake.ending import Ending, final_note, lost_end
from service.intake.forgetting import FROM_FROZEN, certificate_of, erase_from_frozen
from service.intake.forgetting import erase as erase_person
from service.intake.rekey import rekey_directory
from service.intake.rotation import require_source
from service.intake.successor import carry_over
from service.ledger.certificate import REASONS, verify_certificate
from service.ledger.fence import Fence
from service.ledger.handover import follow
from service.ledger.note import Verifier
from service.vault import address as addresses


@click.command(short_help="Erase the person behind EMAIL for good.")
@click.argument("email", required=False)
@click.option("--reason", type=click.Choice(list(REASONS)), help="Why; it stands in the log for ever.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The certificate."
)
@click.option("--again", type=int, metavar="INDEX", help="Only write the certificate of entry INDEX again.")
def erase(email: str | None, reason: str | None, output: Path, again: int | None) -> None:
    """Erase the person behind EMAIL, and write the signed certificate for them.

    Their key, sealed records and address are destroyed at once; entries stay, and say nothing about them.
    The address is kept out of mailing lists: the next reconciliation carries that to both products.
    """
    if (again is None) == (email is None) or (again is None and reason is None):
        raise Malformed("give an address with --reason, or --again with the number of an erasure's entry")
    with app.running(settings.load()) as parts:
        if again is not None:
            with parts.db.read() as tx:
                index, certificate = again, certificate_of(tx, again)
        elif _frozen(parts):
            erase_from_frozen(parts.intake, addresses.parse(email or ""), reason=reason or "")
            click.echo("\n".join(FROM_FROZEN))
            return
        else:
            erased = erase_person(parts.intake, addresses.parse(email or ""), reason=reason or "")
            index, certificate = erased.index, erased.certificate
    write_private(output, certificate)
    click.echo(f"erased; entry {index} says so, and {output} is the certificate for the person")
    click.echo("run `consent-ledger reconcile --apply` to carry the stop to both products now")


def _frozen(parts: app.Parts) -> bool:
    with parts.db.read() as tx:
        return parts.intake.store.frozen(tx)


@click.command("rekey-directory", short_help="Cut what still leads from an address to an erased person.")
def rekey() -> None:
    """Give the directory a new key and destroy the old one; can be given again if it was cut off.

    Services keep running. Auditors who hold the directory key under contract need the new one.
    """
    out = show.console()
    with app.running(settings.load()) as parts, show.steps(out) as progress:
        living = rekey_directory(parts.intake, progress)
    click.echo(f"the directory has a new key; {living} living persons were announced under it")


@click.command("verify-erasure", short_help="Check a certificate of erasure, without us.")
@click.argument("certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    help="The log's public key, or a file of it; again for others.",
)
@click.option(
    "--handover",
    "handovers",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An entry by which a key was handed over, in the order of the log.",
)
def verify_erasure(certificate: Path, keys: tuple[str, ...], handovers: tuple[Path, ...]) -> None:
    """Check a certificate of erasure with the log's public key alone."""
    trusted = follow(
        [Verifier.from_vkey(key) for key in log_keys(keys)], [path.read_bytes() for path in handovers]
    )
    found = verify_certificate(certificate.read_bytes(), trusted)
    click.echo(f"good: {found.origin} erased this person on {found.erased_at:%Y-%m-%d %H:%M} UTC")
    click.echo(f"entry {found.index} says so; {len(found.remains)} entries about the pseudonym remain")


@click.group()
def log() -> None:
    """End a log, and continue it in another one."""


@log.command("freeze")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The final checkpoint.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def freeze(output: Path | None, *, yes: bool) -> None:
    """Give the log its last entry and publish its final checkpoint; nothing is recorded in it any more."""
    if not yes:
        click.confirm("No event can be recorded in this log any more. Go on?", abort=True)
    with app.running(settings.load()) as parts:
        with parts.db.begin() as tx:
            if parts.intake.store.frozen(tx):
                raise Malformed("this log is frozen already")
            parts.intake.announce(tx, Category.LOG_FROZEN, {})
            parts.intake.store.freeze(tx)
        parts.publisher().publish()
        with parts.db.read() as tx:
            final = parts.intake.store.head(tx)
    if output is not None:
        write_private(output, final)
    click.echo(final.decode(), nl=False)


@log.command("continue")
@click.option("--origin", required=True, help="The successor's name, such as ledger.example/acme-2.")
@click.option("--database-url", required=True, help="A migrated database of its own.")
@click.option("--state-dir", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--lost", is_flag=True, help="The log is read-only: its newest database was lost for good.")
def continue_log(origin: str, database_url: str, state_dir: Path, *, lost: bool) -> None:
    """Begin the frozen log's successor and carry the living over; can be given again if it was cut off.

    Afterwards run the service with these three settings; the old database stays, for its proofs. With --lost
    the successor begins where the restored backup ends, and says which checkpoint of the log was lost.
    """
    chosen = settings.load()
    told = {"origin": origin, "database_url": database_url, "state_dir": state_dir}
    successor = chosen.model_copy(update={**told, "kek_file": None, "keys_file": None, "fence_file": None})
    out = show.console()
    with app.running(chosen) as old, show.steps(out) as progress:
        source = require_source(old.intake).found(successor)
        fence = Fence(chosen.fence_path, *old.intake.keys.log_verifiers)
        end = lost_end(old.intake, fence) if lost else Ending(before=final_note(old.intake))
        with app.running(successor, source=source, after=end) as new:
            count = carry_over(old.intake, new.intake, progress)
            vkey = new.intake.keys.log.vkey
    if end.lost is not None:
        click.echo(
            f"lost: {end.lost['who']} knows {end.lost['size']} entries, here are {end.lost['restored']}"
        )
        click.echo(
            "what they said is unknown: run `consent-ledger reconcile`, which records opt-outs that it finds"
        )
        click.echo("never run the old log again, even if its newest database turns up")
    click.echo(f"{count} persons were carried over; the successor's public key is\n{vkey}")
