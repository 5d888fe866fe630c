"""Checks of the database: schema, walls, rights of our role, room; and of the log in it."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, text

from service.anchor import attestation
from service.cli.doctor.finding import Look, fail, failed, fine, warn
from service.cli.doctor.scene import Scene
from service.cli.fencing import REMEDY, exposed
from service.db import LEDGER_TABLES, Database, require_current
from service.db.engine import parse_url
from service.errors import Misconfigured, ReadOnly
from service.ledger.attestors import Level, attestors
from service.ledger.fence import Fence, Guard, Sighting
from service.ledger.note import split_note
from service.ledger.proof import Checkpoint
from service.ledger.publication import EVERY, IDLE, latest
from service.ledger.scrub.share import Share
from service.ledger.scrub.walls import Walls
from service.ledger.store import Store

DATABASE, FENCE = "CONSENT_DATABASE_URL", "CONSENT_FENCE_FILE"
SERVICE = "this machine: the processes of the service"
WALLS_ALONE = Share(stop=0)
"""No rows and not the end: only the walls, which takes no time however large the file is."""
LEAST_FREE, LITTLE_FREE = 256 * 1024**2, 2 * 1024**3
"""Bytes: a log that cannot write loses withdrawals, and backups need room too."""
FORBIDDEN = ("UPDATE", "DELETE", "TRUNCATE")
LATE = EVERY * 6
"""How long a log that has grown may go without a new checkpoint."""


def database(scene: Scene) -> Iterator[Look]:
    """Look at the database itself."""
    db = scene.db.open()
    yield fine(f"{db.dialect} answers")
    try:
        require_current(db)
    except Misconfigured as error:
        yield failed(error, DATABASE)
    else:
        yield fine("the schema is current")
        yield from _walls(db)
    yield from _rights(db)
    yield from _room(scene, db)


def _walls(db: Database) -> Iterator[Look]:
    with db.read() as tx:
        found = list(Walls(share=WALLS_ALONE).look(tx, lambda _done, _total: None))
    for damage in found:
        yield fail(
            f"{damage.where}: {damage.what}",
            "run `consent-ledger scrub`, then ask who took it down",
            DATABASE,
        )
    if not found:
        yield fine("the walls around the ledger's tables stand")


def _rights(db: Database) -> Iterator[Look]:
    """Look at what our role could do to the ledger if somebody took it over."""
    if db.dialect == "sqlite":
        return
    with db.read() as tx:
        excess = _excess(tx)
        is_super = tx.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
        is_owner = tx.scalar(
            text("SELECT count(*) FROM pg_tables WHERE tableowner = current_user AND tablename = 'leaf'")
        )
    todo = "let the service log in as a member of the role consent_app, and migrate as the owner"
    if is_super or is_owner:
        whose = "a superuser" if is_super else "the owner of the tables"
        yield fail(f"the service's role is {whose}: it could take the walls down", todo, DATABASE)
    elif excess:
        yield fail(f"the service's role may {', '.join(excess)}", todo, DATABASE)
    else:
        yield fine("the service's role can add to the ledger and not change it")


def _excess(tx: Connection) -> list[str]:
    """Return what our role may do to ledger tables and should not, and what it may not and must."""
    may = text("SELECT has_table_privilege(current_user, :name, :verb)")
    found = []
    for table in LEDGER_TABLES:
        found += [f"{verb} {table}" for verb in FORBIDDEN if tx.scalar(may, {"name": table, "verb": verb})]
        found += [
            f"not {verb} {table}"
            for verb in ("SELECT", "INSERT")
            if not tx.scalar(may, {"name": table, "verb": verb})
        ]
    return found


def _room(scene: Scene, db: Database) -> Iterator[Look]:
    folders = {scene.settings.state_dir}
    if db.dialect == "sqlite":
        folders.add(Path(parse_url(scene.settings.database_url).database or ".").parent)
    else:
        with db.read() as tx:
            size = tx.scalar(text("SELECT pg_database_size(current_database())")) or 0
        yield fine(f"the database holds {size / 1024**2:,.0f} MiB; its disk cannot be seen from here")
    for folder in sorted(folder.resolve() for folder in folders if folder.exists()):
        free = shutil.disk_usage(folder).free
        seen = f"{free / 1024**3:,.1f} GiB are free at {folder}"
        if free < LEAST_FREE:
            yield fail(seen, "make room: a full disk takes no withdrawal", DATABASE)
        elif free < LITTLE_FREE:
            yield warn(seen, "make room before it is full", DATABASE)
        else:
            yield fine(seen)


def log(scene: Scene) -> Iterator[Look]:
    """Look at the log: its newest checkpoint, the fence outside the database, and who attests it."""
    yield from _exposed(scene)
    keys, db = scene.keys.need(), scene.db.need()
    store = Store(keys.log.name)
    with db.read() as tx:
        if not store.exists(tx):
            yield warn("the log was not begun yet", "run `consent-ledger serve` once", SERVICE)
            return
        yield from _published(tx, store, scene)
        yield from _fence(tx, store, Fence(scene.settings.fence_path, *keys.log_verifiers))
        for one in attestors(tx, scene.now()):
            if one.level is not Level.FINE:
                told = fail if one.level is Level.RED else warn
                seen = f"the {one.kind} {one.name} is late: {one.trouble or 'it was not asked'}"
                yield told(seen, "look whether it can be reached", "policies/log.toml")


def _exposed(scene: Scene) -> Iterator[Look]:
    """Look where the fence lies: one that is restored together with the database shows nothing."""
    why = exposed(scene.settings, attestation.load(scene.settings.policies_dir))
    if why is not None:
        told = fail if scene.settings.fence_is_restored_too else warn
        yield told(why, REMEDY, FENCE)


def _published(tx: Connection, store: Store, scene: Scene) -> Iterator[Look]:
    newest, size = latest(tx), store.size(tx)
    if store.frozen(tx):
        yield warn(
            "this log is frozen: nothing is recorded in it", "continue it: `consent-ledger log continue`"
        )
        return
    if newest is None:
        yield fail("no checkpoint was ever published", "start `serve` or `worker`, which publish")
        return
    age = scene.now() - newest.published_at
    allowed = LATE if newest.size < size else IDLE + timedelta(hours=1)
    seen = f"the newest checkpoint of {newest.size:,} entries is {_words(age)} old, the log has {size:,}"
    if age > allowed:
        yield fail(
            seen, "start `serve` or `worker`, which publish; their log says why if they do not", SERVICE
        )
    else:
        yield fine(seen)


def _fence(tx: Connection, store: Store, fence: Fence) -> Iterator[Look]:
    known = fence.read()
    if known is None:
        todo = "start the service; if there was one, put it back: it shows whether entries were lost"
        yield warn(f"there is no fence at {fence.path}", todo, FENCE)
        return
    guard = Guard()
    head = Checkpoint.parse(split_note(store.head(tx))[0])
    guard.judge(tx, store, head, [Sighting(who="the fence", size=known.size, root=known.root)])
    if guard.trouble is not None:
        yield failed(ReadOnly(guard.trouble), FENCE)
    else:
        yield fine(f"the fence knows {known.size:,} entries, which the database has")


def _words(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    hours = minutes // 60
    return f"{minutes} min" if hours < 3 else f"{hours} h"  # noqa: PLR2004  # up to here minutes are read
