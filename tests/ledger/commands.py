"""Both verifiers as commands: each run is a process of its own, with its exit code and its output.

The processes are forked from one that has the modules loaded already, so that hundreds of runs take seconds.
"""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["service.cli.verify", "service.ledger.standalone.verify", "cryptography.x509", "tests.ledger.commands"]
)


def ours(arguments: Sequence[str], out: Path) -> int:
    """Run `consent-ledger verify` and return its exit code; what it says goes to the file."""
    return _run(_ours, arguments, out)


def alone(program: Path, arguments: Sequence[str], out: Path) -> int:
    """Run the stand-alone verifier from a file, and return its exit code."""
    return _run(_alone, [str(program), *arguments], out)


def _run(target, arguments, out):
    process = _FORKS.Process(target=target, args=(list(arguments), str(out)))
    process.start()
    process.join(60)
    assert process.exitcode is not None, "a verifier did not end"
    return process.exitcode


def _ours(arguments, out):
    from service.cli import main  # noqa: PLC0415 -- in the process that is the command

    _redirect(out)
    sys.argv = ["consent-ledger", "verify", *arguments]
    main()


def _alone(arguments, out):
    _redirect(out)
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")


def _redirect(out):
    handle = os.open(out, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout = os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", closefd=False)
