"""`consent-ledger import`: take over what another system knows, as what it is: imported, never fresh consent.

A file is read twice: first to judge every line and to show what recording it would do, then to record it.
Nothing is recorded of a file with a line that cannot be read, unless the caller says so. Each line's
idempotency key is a hash of what it says, so the same file, or a longer one, can be given again.
"""

import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import click
from sqlalchemy import select

from service import app, settings
from service.cli import show
from service.cli.lines import Line, Wrong, read_lines
from service.consent import GRANTS, STOPS, Category, State
from service.db import chunks, standing
from service.errors import Malformed, ServiceError
from service.intake import Claim
from service.intake.making import NOBODY
from service.intake.places import crm_countries
from service.intake.projection import alone
from service.policy import PolicySet

CHUNK: Final = 1000  # lines judged or recorded at once
SHOWN: Final = 10  # lines at fault that are named
UNRULED: Final = "no rule lets what it rests on count where they are"

_STANDS: Final = select(standing.c.sub, standing.c.purpose, standing.c.state, standing.c.must_stop)

T = TypeVar("T")


@dataclass(slots=True)
class Effect:
    """What recording a file would do; counts only.

    `idle` are consents about people who said stop or are suppressed, `ends` refusals and suppressions about
    people who may be mailed until then. `void` are consents that let nobody be mailed even if the person
    said nothing else, by the rule that does not let them count.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    known: int = 0
    idle: int = 0
    ends: int = 0
    void: Counter[str] = field(default_factory=Counter)
    wrong: list[Wrong] = field(default_factory=list)
    faults: int = 0

    def add(self, line: Line) -> None:
        """Count one line."""
        if isinstance(line, Wrong):
            self.faults += 1
            self.wrong = [*self.wrong, line][:SHOWN]
        else:
            self.kinds[line.category.value] += 1


@click.command("import", short_help="Record consents and refusals of another system.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what it would do, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--skip-wrong", is_flag=True, help="Record the other lines of a file with wrong ones.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that sign and seal.",
)
def command(file: Path, *, dry_run: bool, yes: bool, skip_wrong: bool, processes: int) -> None:
    """Record what the lines of FILE say: a .csv with a header, or one JSON object per line.

    Columns: kind (grant, withdraw, suppress), email, purpose, occurred_at (with an offset), country, and
    any evidence that POST /api/events takes, such as notice_sha256 or import_batch.
    """
    chosen = settings.load()
    out = show.console()
    with app.running(chosen) as parts, show.steps(out) as progress:
        effect = _judge(parts, file, progress)
    _show(file, effect)
    if effect.faults and not skip_wrong:
        raise Malformed("nothing was recorded; correct these lines, or leave them out with --skip-wrong")
    if dry_run or not effect.kinds.total():
        return
    if not yes:
        click.confirm("Record this?", abort=True)
    _tell(_record(file, processes))


def _judge(parts: app.Parts, file: Path, progress: show.Progress) -> Effect:
    """Read every line and count what it would do."""
    effect, seen = Effect(), 0
    for lines in _parted(read_lines(file, parts.policy, app.now())):
        for line in lines:
            effect.add(line)
        _meet(parts, effect, [line for line in lines if isinstance(line, Claim)])
        seen += len(lines)
        progress("lines read", seen, 0)
    return effect


def _meet(parts: app.Parts, effect: Effect, claims: list[Claim]) -> None:
    """Count how these lines meet what is known about their people."""
    indexes = {claim.address: parts.intake.vault.address_index(claim.address or "") for claim in claims}
    with parts.db.read() as tx:
        people = parts.intake.vault.find_many(tx, list(indexes.values()))
        stands = {
            (row.sub, row.purpose): row
            for part in chunks(list(people.values()))
            for row in tx.execute(_STANDS.where(standing.c.sub.in_(part)))
        }
        crm = crm_countries(tx, list(indexes.values()))
    effect.known += len(people)
    for claim in claims:
        sub = people.get(indexes[claim.address])
        purposes = parts.policy.purposes if claim.purpose is None else [claim.purpose]
        found = [row for name in purposes if (row := stands.get((sub, name))) is not None]
        effect.idle += claim.category in GRANTS and any(row.must_stop for row in found)
        mailable = any(row.state == State.PERMITTED and not row.must_stop for row in found)
        effect.ends += claim.category in STOPS and mailable
        if claim.category in GRANTS:
            effect.void.update(_void(claim, parts.policy, crm.get(indexes[claim.address])))


def _void(claim: Claim, policy: PolicySet, crm: str | None) -> list[str]:
    """Return the rule by which a consent does not count, whatever else they said; none where it does."""
    found = [one for one in alone(claim, NOBODY, policy, crm) if one.purpose == claim.purpose]
    return [one.rule or UNRULED for one in found if one.state is not State.PERMITTED]


def _show(file: Path, effect: Effect) -> None:
    click.echo(f"{file}: {effect.kinds.total():,} events can be recorded, all as imported")
    for kind, count in sorted(effect.kinds.items()):
        click.echo(f"  {kind:20} {count:>12,}")
    stops = effect.kinds[Category.WITHDRAWN.value] + effect.kinds[Category.SUPPRESSION_ADDED.value]
    for count, what in (
        (stops, "of them stop mail, and are carried to both products at once"),
        (effect.known, "lines are about people who are known already"),
        (effect.ends, "stops are about people who may be mailed until now, unless a newer word counts"),
        (effect.idle, "consents are about people who must not be mailed; an import lifts nothing"),
    ):
        if count:
            click.echo(f"  {count:,} {what}")
    if effect.void:
        click.echo(f"  {effect.void.total():,} consents do not count, and let nobody be mailed, by")
    for rule, count in effect.void.most_common():
        click.echo(f"    {rule:50} {count:>12,}")
    click.echo(
        "  what is recorded cannot be undone: a mistake is corrected by an entry (consent-ledger correct)"
    )
    if effect.faults:
        click.secho(f"{effect.faults:,} lines are wrong:", fg="red", err=True)
    for wrong in effect.wrong:
        click.echo(f"  line {wrong.number}: {wrong.why}", err=True)


def _record(file: Path, processes: int) -> Counter[str]:
    """Record every line that can be read, on as many processes; a person's lines stay in their order."""
    if processes == 1:
        return record_share(file, 0, 1)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        shares = [pool.submit(record_share, file, mine, processes) for mine in range(processes)]
        return sum((share.result() for share in shares), Counter())


def record_share(file: Path, mine: int, processes: int) -> Counter[str]:
    """Record the lines about this process's share of the people; return what became of them."""
    told: Counter[str] = Counter()
    with app.running(settings.load()) as parts, show.steps(show.console(), quiet=mine > 0) as progress:
        lines = read_lines(file, parts.policy, app.now(), mine=mine, processes=processes)
        for claims in _parted(line for line in lines if isinstance(line, Claim)):
            for outcome in parts.intake.record(claims):
                told[_name(outcome)] += 1
            progress("lines recorded", told.total() * processes, 0)
    return told


def _name(outcome: object) -> str:
    if isinstance(outcome, ServiceError):
        return f"refused ({outcome.title})"
    return "known already" if getattr(outcome, "duplicate", False) else "recorded"


def _tell(told: Counter[str]) -> None:
    for name, count in sorted(told.items()):
        click.echo(f"{name:20} {count:>12,}")
    if set(told) - {"recorded", "known already"}:
        sys.exit(1)


def _parted(lines: Iterator[T]) -> Iterator[list[T]]:
    while part := list(islice(lines, CHUNK)):
        yield part
