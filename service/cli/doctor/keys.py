"""Checks of the keys: files' permissions, who keeps them, which generation they are of."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from service.cli.doctor.finding import Look, fail, fine, warn
from service.cli.doctor.scene import Scene
from service.settings import Settings

KEK, KEYS = "CONSENT_KEK_FILE", "CONSENT_KEYS_FILE"


def keys(scene: Scene) -> Iterator[Look]:
    """Look at both key files and at what is in them; says nothing of what they hold."""
    chosen = scene.settings
    for path, setting in ((chosen.kek_path, KEK), (chosen.keys_path, KEYS)):
        yield from _file(path, setting)
    yield from _custody(chosen)
    found = scene.keys.open()
    yield fine(f"both files open; generation {found.generation}, as the ledger says")
    if scene.source.staged() is not None:
        yield warn(
            "a change of keys was begun and is not finished", "give that `key rotate` command again", KEYS
        )
    if found.keks:
        todo = "when no older backup needs them: `consent-ledger key rotate kek --forget-former`"
        yield warn(f"{len(found.keks)} former key-encryption keys are kept in the keys file", todo, KEYS)


def _file(path: Path, setting: str) -> Iterator[Look]:
    if not path.exists():
        return
    told = path.stat()
    mode = stat.S_IMODE(told.st_mode)
    if mode & 0o077:
        yield fail(f"{path} can be read by others (mode {mode:04o})", f"chmod 600 {path}", setting)
    if told.st_uid not in (os.geteuid(), 0):
        yield warn(
            f"{path} belongs to another user", f"chown it to the service's user, {os.geteuid()}", setting
        )
    folder = stat.S_IMODE(path.parent.stat().st_mode)
    if folder & 0o022:
        yield fail(f"others can replace files in {path.parent} (mode {folder:04o})", "chmod 700 it", setting)


def _custody(chosen: Settings) -> Iterator[Look]:
    if chosen.kms_key:
        yield fine("the key-encryption key is wrapped by AWS KMS")
        return
    together = chosen.kek_path.parent.resolve() == chosen.keys_path.parent.resolve()
    if together and not chosen.embedded:
        yield warn(
            f"both key files are in {chosen.kek_path.parent}; whoever copies the folder opens everything",
            "keep them apart, or let a KMS keep the first (CONSENT_KMS_KEY)",
            KEK,
        )
    else:
        kept = "in one folder, as in the embedded default" if together else "apart from the keys file"
        yield fine(f"the key-encryption key is in a file, {kept}")
