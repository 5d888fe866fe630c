"""Both verifiers as commands: each run is a process of its own, with its exit code and its output.

A `Runner` has the modules loaded and forks, so that hundreds of runs take seconds; it is itself a process
without threads, since only those fork safely. This file is what it runs.
"""

import json
import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Runner(AbstractContextManager["Runner"]):
    """Runs one command after the other; use one for each thread."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def ours(self, arguments: Sequence[str], out: Path) -> int:
        """Run `consent-ledger verify` and return its exit code; what it says goes to the file."""
        return self._run({"arguments": ["verify", *arguments], "out": str(out)})

    def alone(self, program: Path, arguments: Sequence[str], out: Path) -> int:
        """Run the stand-alone verifier from a file, and return its exit code."""
        return self._run({"program": str(program), "arguments": list(arguments), "out": str(out)})

    def _run(self, task):
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def _serve() -> None:
    import service.cli.verify  # noqa: PLC0415 -- loaded once, before anything forks
    import service.ledger.standalone.verify  # noqa: F401, PLC0415 -- the same, for what it imports

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _become(task) -> None:
    """Be the command, and end with its exit code; whatever else happens is told and ends with 70."""
    handle = os.open(task["out"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(handle, stream)
    code = 70
    try:
        if "program" in task:
            sys.argv = [task["program"], *task["arguments"]]
            runpy.run_path(task["program"], run_name="__main__")
        else:
            from service.cli import main  # noqa: PLC0415 -- in the process that is the command

            sys.argv = ["consent-ledger", *task["arguments"]]
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 -- the parent must not go on as two
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    _serve()
