"""The command that takes the published log out of the house: export."""

from pathlib import Path

import click

from service import app, settings
from service.cli import show
from service.ledger.anchors import cosigned
from service.ledger.export import Export, Exported
from service.ledger.export import Progress as Count
from service.ledger.export.folder import Folder
from service.ledger.export.texts import beside
from service.ledger.witness import identity


@click.command(short_help="Bring a folder to the newest state of the log, for auditors and mirrors.")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def export(folder: Path) -> None:
    """Bring DIR to the newest state of the log, as files that any verifier of c2sp.org logs reads.

    What has been recorded until now is published first. Run it again to add what is new, or after it
    was interrupted. Exits 6 when the folder or the log is not what was signed.
    """
    out = show.console()
    with app.running(settings.load()) as parts, show.steps(out) as progress:
        done = export_log(parts, folder, lambda count, total: progress(_tenth(count, total), count, total))
        witnessed = _witnessed(parts, done.size)
    new = done.size - done.before
    click.echo(f"{done.size} entries in {folder}, {new} of them new; {done.files} files written")
    if not witnessed:
        click.echo(
            "warning: not enough witnesses have cosigned this checkpoint yet, so it verifies as incomplete; "
            "run the export again when they answer",
            err=True,
        )


def export_log(parts: app.Parts, folder: Path, progress: Count) -> Exported:
    """Publish what is new, have it attested, then export it; `progress` is told entries done and in all."""
    keys, store = parts.intake.keys, parts.intake.store
    parts.publisher().publish()
    parts.anchors().attend()  # or the policy beside the log asks for lines that nobody was asked for
    texts = beside(
        log=keys.log.vkey,
        log_pq=keys.log_pq.vkey,
        ingest=[key.vkey for key in keys.ingest_verifiers],
        url=f"{parts.settings.public_url.rstrip('/')}/log",
        witnesses=parts.attestation.policy,
    )
    job = Export(db=parts.db, store=store, verifiers=parts.log_verifiers)
    with Folder(folder) as out:
        return job.run(out, texts, progress)


def _witnessed(parts: app.Parts, size: int) -> bool:
    """Return whether the exported checkpoint has the cosignatures that the log's policy asks for."""
    policy = parts.attestation.policy
    with parts.db.read() as tx:
        lines = {one.key for one in cosigned(tx, [size], newest=True).get(size, ())}
    return policy.satisfied({party.name for party in policy.witnesses if identity(party.key) in lines})


def _tenth(count: int, total: int) -> str:
    """Return the name of the step, which changes ten times: off a terminal, each name is one line."""
    return f"exported {count * 10 // max(total, 1) * 10} %:"
