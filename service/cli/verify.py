"""The command that an auditor runs far away: no database, and no key but the log's public one."""

import base64
import binascii
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.cli import show
from service.cli.cores import cores
from service.cli.reading import FolderSource
from service.errors import Malformed, Tampered, Unavailable
from service.ledger import standalone
from service.ledger.merkle import HASH_BYTES
from service.ledger.note import Verifier
from service.ledger.replay import earlier
from service.ledger.replay.attested import CHECKPOINT
from service.ledger.replay.bundled import judge_bundle
from service.ledger.replay.earlier import Earlier
from service.ledger.replay.judge import Beliefs, Verdict, judge
from service.ledger.replay.source import Source
from service.ledger.verify import State
from service.ledger.verify import Verdict as BundleVerdict

MAX_BUNDLE_BYTES: Final = 1 << 32
"""What a bundle can have at most; nothing longer is read into memory."""

USAGE: Final = 64
"""What the command exits with when nothing was checked (EX_USAGE of sysexits.h)."""

Judgement = Verdict | BundleVerdict
_NOT_COMPLETE: Final = "what shows completeness is missing; what is here holds"
_File = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Unusable(click.UsageError):
    exit_code = USAGE


class _Strict(click.Command):
    """A command whose usage errors exit with 64, since 2 is a verdict."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _no_verdict():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        with _no_verdict():
            return super().invoke(ctx)


@contextmanager
def _no_verdict() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        raise _Unusable(error.format_message(), error.ctx) from None


@click.command(
    cls=_Strict, short_help="Check a bundle, an export or a log offline; exits 0 good, 1 bad, 2 incomplete."
)
@click.argument("what", required=False)
@click.option(
    "--key",
    "keys",
    multiple=True,
    help="The log's public key, or a file of it (default: this folder's); again for an older or newer one.",
)
@click.option(
    "--since",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="What the log signed earlier: a checkpoint, receipt, bundle, export or nightly mail (.eml).",
)
@click.option("--policy", type=_File, help="Witnesses to believe, in place of the export's policy.txt.")
@click.option("--tsa", type=_File, help="PEM certificates of the time-stamping authorities to believe.")
@click.option(
    "--directory-key",
    type=_File,
    help="A file with the directory key (base64), if you hold it: a bundle's address leads nowhere else.",
)
@click.option("--api-key", type=_File, help="File with the auditor's API key, to read entries from a URL.")
@click.option("--processes", type=click.IntRange(min=1), help="How many cores to use (default: all).")
@click.option("--require-complete", is_flag=True, help="Incomplete where completeness is not shown.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@click.option("--standalone", "alone", is_flag=True, help="Print the one-file verifier and end.")
def verify(  # noqa: PLR0913  # one for each option
    *,
    what: str | None,
    keys: tuple[str, ...],
    since: tuple[Path, ...],
    policy: Path | None,
    tsa: Path | None,
    directory_key: Path | None,
    api_key: Path | None,
    processes: int | None,
    require_complete: bool,
    as_json: bool,
    alone: bool,
) -> None:
    """Check WHAT with nothing but the log's public key; exits 0 good, 1 bad, 2 incomplete.

    WHAT is a bundle (zip), the folder of an export, or the URL of a published log. Everything that can
    be made again is made again: every signature, hash, tile, root, list and time stamp.
    """
    if alone:
        click.echo(standalone.source(), nl=False)
        return
    if what is None:
        raise click.UsageError("say what to check: a bundle, the folder of an export, or a log's URL")
    vkeys = log_keys(keys)
    try:
        beliefs = Beliefs(
            log_vkey=vkeys,
            policy=None if policy is None else policy.read_bytes(),
            roots=None if tsa is None else tsa.read_bytes(),
            earlier=[_kept(path) for path in since],
        )
        held = None if directory_key is None else _directory_key(directory_key)
        if Path(what).is_file():
            found: Judgement = judge_bundle(_read(Path(what)), beliefs, held)
        else:
            found = _judge(what, beliefs, api_key, processes, quiet=as_json)
    except Tampered as error:  # a file given with --since; here the judgement is the answer
        found = Verdict(state=State.BAD, reason=str(error))
    if require_complete and isinstance(found, BundleVerdict) and found.state is State.GOOD:
        found = found if found.complete else replace(found, state=State.INCOMPLETE, reason=_NOT_COMPLETE)
    click.echo(_as_json(found) if as_json else found.report(), nl=False)
    sys.exit(found.exit_code)


def _judge(
    what: str, beliefs: Beliefs, api_key: Path | None, processes: int | None, *, quiet: bool
) -> Verdict:
    path = Path(what)
    if what.startswith(("http://", "https://")):
        return _judge_url(what, beliefs, api_key, processes, quiet=quiet)
    if path.is_dir():
        return _judge_log(FolderSource(path), beliefs, processes, quiet=quiet)
    raise click.UsageError("nothing was checked: what to check is no file, no folder and no URL of a log")


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BUNDLE_BYTES)


def _judge_url(
    url: str, beliefs: Beliefs, api_key: Path | None, processes: int | None, *, quiet: bool
) -> Verdict:
    from service.anchor.published import PublishedLog  # noqa: PLC0415  # only here is a network needed

    token = None if api_key is None else api_key.read_text().strip()
    try:
        with PublishedLog(url, api_key=token) as source:
            found = _judge_log(source, beliefs, processes, quiet=quiet)
            return _unread(found, source.refused, known=token is not None)
    except Unavailable as error:
        return Verdict(state=State.INCOMPLETE, reason=str(error))


def _unread(found: Verdict, refused: Sequence[str], *, known: bool) -> Verdict:
    """Return the verdict, which says so where a file is there and was not shown to us."""
    if not refused or found.state is not State.INCOMPLETE:
        return found
    way = "with this API key" if known else "without --api-key"
    return replace(found, reason=f"{refused[0]} is not readable {way}; what is here holds")


def _judge_log(source: Source, beliefs: Beliefs, processes: int | None, *, quiet: bool) -> Verdict:
    with cores(processes) as submit, _bar(quiet=quiet) as progress:
        return judge(source, beliefs, submit, progress)


def _kept(path: Path) -> Earlier:
    """Return what a file that somebody kept shows; of an export, its checkpoint."""
    found = path / CHECKPOINT if path.is_dir() else path
    if not found.is_file():
        raise click.UsageError(f"there is no checkpoint in {path}")
    return earlier.read(str(path), _read(found))


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield a progress callback: a bar on a terminal, a line per tenth elsewhere, on standard error."""
    out = show.console()
    if quiet or not out.is_terminal:
        with show.steps(out, quiet=quiet) as step:
            yield lambda done, total: step(f"checked {done * 10 // max(total, 1) * 10} %:", done, total)
        return
    columns = (TextColumn("checking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task("checking")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _as_json(found: Judgement) -> str:
    told = {
        "verdict": found.state.value,
        "reason": found.reason,
        "origin": found.origin,
        "size": found.size,
        "checked": dict(found.checked),
    }
    return json.dumps(told, indent=2) + "\n"


def _directory_key(path: Path) -> bytes:
    """Return the 32 bytes of a directory key from a file that holds them in base64."""
    try:
        held = base64.b64decode(path.read_bytes().strip(), validate=True)
    except binascii.Error:
        held = b""
    if len(held) != HASH_BYTES:
        raise Malformed(f"{path} must hold the 32 bytes of the directory key in base64; copy it again, whole")
    return held


def log_keys(keys: Sequence[str]) -> list[str]:
    """Return the verifier keys that were named, or that of the log in this working folder."""
    found = [_log_key(key) for key in keys or (None,)]
    if len({Verifier.from_vkey(vkey).name for vkey in found}) > 1:
        raise click.BadParameter("these are keys of different logs", param_hint="--key")
    return found


def _log_key(key: str | None) -> str:
    if key is not None and "+" in key and not Path(key).exists():
        return _require_key(key)
    if key is not None and not Path(key).exists():
        raise click.BadParameter(
            "this is no public key (name+number+base64) and no file of one", param_hint="--key"
        )
    from service.settings import load  # noqa: PLC0415  # an auditor far away has no settings

    path = Path(key) if key is not None else load().log_key_path
    if not path.exists():
        raise Malformed(
            "no public key of the log is here; give it with --key (the operator has it: key show)"
        )
    return _require_key(path.read_text(errors="replace").strip())


def _require_key(vkey: str) -> str:
    try:
        Verifier.from_vkey(vkey)
    except Malformed as error:
        raise click.BadParameter(f"this is no public key of a log: {error}", param_hint="--key") from None
    return vkey
