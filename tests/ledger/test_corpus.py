"""Two verifiers, written apart, reach the stated verdict on every case; as commands, by their exit codes."""

import ast
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.ledger import standalone
from tests.ledger.commands import ROOT, Runner
from tests.ledger.corpus import BAD, CASES, GOOD, INCOMPLETE, Case
from tests.servers import locked

pytestmark = pytest.mark.timeout(600)  # the first test waits for some 350 processes

CODES = {0: GOOD, 1: BAD, 2: INCOMPLETE}
NAMES = [case.name for case in CASES]


def laid_out(case: Case, folder: Path) -> list[str]:
    """Write what the auditor has to the disk and return the arguments of a command."""
    what = folder / "what"
    files = case.evidence if isinstance(case.evidence, dict) else {"": case.evidence}
    for path, data in files.items():
        (what / path).parent.mkdir(parents=True, exist_ok=True)
        (what / path).write_bytes(data)
    arguments = [str(what), "--key", case.key]
    for name, data in case.kept.items():
        (folder / name).write_bytes(data)
        arguments += ["--since", str(folder / name)]
    if case.policy is not None:
        (folder / "policy").write_bytes(case.policy)
        arguments += ["--policy", str(folder / "policy")]
    return arguments


def said(code: int, out: Path) -> tuple[str, str]:
    """The verdict, if exit code and printed word are the same one; and all that was printed."""
    text = out.read_text()
    words = {line.partition(":")[0].partition(" (")[0] for line in text.splitlines()}
    return (CODES[code] if CODES.get(code) in words else f"exit code {code}"), text


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The stand-alone verifier as somebody else has it: one file, far from the service."""
    path = tmp_path_factory.mktemp("alone") / "verify.py"
    path.write_bytes(standalone.source())
    return path


@pytest.fixture(scope="module")
def verdicts(shared, tmp_path_factory, program):
    """Every case judged by both commands, once for all test processes of a run."""
    kept = shared / "verdicts.json"
    with locked(shared / "verdicts.lock"):
        if not kept.exists():
            kept.write_text(json.dumps(judged(tmp_path_factory, program)))
    return json.loads(kept.read_text())


def judged(tmp_path_factory, program):
    """Judge every case, two at a time."""

    def judge(first):
        found = {}
        with Runner() as runner:
            for number in range(first, len(CASES), 2):
                folder = tmp_path_factory.mktemp(f"case{number}")
                given = laid_out(CASES[number], folder)
                code = runner.ours([*given, "--processes", "1"], folder / "ours")
                alone = runner.alone(program, given, folder / "alone")
                found[NAMES[number]] = said(code, folder / "ours"), said(alone, folder / "alone")
        return found

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(judge, range(2))
    return first | second


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_both_verifiers_reach_the_stated_verdict(case, verdicts):
    (ours, why), (alone, why_alone) = verdicts[case.name]
    assert (ours, alone) == (case.expected, case.expected), f"{why}\n{why_alone}"


@pytest.mark.parametrize(
    "name", ["a sound export", "a truncated file tile/0/001", "a missing file checkpoint"]
)
@pytest.mark.parametrize("first", [["-m", "service", "verify"], None], ids=["ours", "alone"])
def test_the_shell_sees_the_verdict_as_exit_code(name, first, program, tmp_path):
    case = CASES[NAMES.index(name)]
    command = [sys.executable, *(first or ["-I", str(program)]), *laid_out(case, tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert CODES[done.returncode] == case.expected
    assert done.stdout.startswith(f"{case.expected}: ")


def test_the_corpus_is_as_large_as_it_should_be():
    assert len(NAMES) == len(set(NAMES))
    assert sum(case.expected != GOOD for case in CASES) >= 40


def test_the_stand_alone_verifier_needs_the_standard_library_and_cryptography_alone():
    tree = ast.parse(standalone.source())
    modules = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    modules |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    foreign = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names)
    assert foreign == {"cryptography"}


def test_the_stand_alone_verifier_can_be_read_in_one_sitting():
    lines = standalone.source().splitlines()
    assert len(lines) < 500
    assert max(map(len, lines)) <= 110
