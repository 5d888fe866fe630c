"""What a newcomer, an operator and an index see of the project before any of its code runs."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import psycopg
import pytest
import yaml
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from service.db import migrate
from service.settings import HERE, Settings

TOP_LEVEL = {
    *("service", "migrations", "tests", "policies", "pyproject.toml", "compose.yaml"),
    *("README.md", "CHANGELOG.md", "DECISIONS.md", "LICENSE", "Makefile"),
    *("requirements.lock", "requirements-dev.lock"),
}
LEFT_BEHIND = {"build", "dist"}
"""What a packaging tool makes and git ignores."""
LOCKS = ("requirements.lock", "requirements-dev.lock")
IMPURE = {
    "anchors",
    "attestors",
    "batch",
    "export",
    "fence",
    "keeper",
    "lists",
    "lookup",
    "publication",
    "reread",
    "scrub",
    "sequencer",
    "store",
    "upgrade",
    "whole",
}
"""The rooms of the ledger that may know a database."""

PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text())
COMPOSE = yaml.safe_load((HERE / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def test_the_top_level_holds_only_what_the_design_names():
    seen = {path.name for path in HERE.iterdir() if not path.name.startswith((".", "__"))}
    assert seen - LEFT_BEHIND - TOP_LEVEL == set()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_names_no_address(lock):
    text = (HERE / lock).read_text()
    assert re.findall(r"://|--\w*(?:index|links|host)|\w+\.(?:org|com|net|io)\b", text) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_pins_every_package_with_its_hashes(lock):
    for name, pin in _pins(lock).items():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", pin), name


def test_the_lock_files_hold_what_the_project_asks_for():
    groups = PROJECT["dependency-groups"]
    runtime = _names(PROJECT["project"]["dependencies"] + groups["build"])
    assert runtime - _pins("requirements.lock").keys() == set()
    assert _names(groups["dev"]) - _pins("requirements-dev.lock").keys() == set()


def test_both_lock_files_agree_on_every_version():
    runtime, dev = _pins("requirements.lock"), _pins("requirements-dev.lock")
    assert {name for name, pin in runtime.items() if _version(dev[name]) != _version(pin)} == set()


def test_every_room_of_the_ledger_is_either_known_to_be_impure_or_checked_to_be_pure():
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    pure = next(c["source_modules"] for c in contracts if c["name"].startswith("An auditor verifies"))
    rooms = {path.stem for path in (HERE / "service" / "ledger").iterdir()} - {"__init__", "__pycache__"}
    assert rooms - IMPURE == {name.rpartition(".")[2] for name in pure if name.startswith("service.ledger.")}


def test_the_layers_are_those_of_the_design():
    layers = next(c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    assert layers["exhaustive"] is True
    assert {room.strip("() ") for line in layers["layers"] for room in line.split("|")} >= {
        path.stem for path in (HERE / "service").iterdir() if path.stem not in {"__init__", "__pycache__"}
    }


@pytest.mark.parametrize("name", OURS)
def test_compose_runs_commands_that_exist(name):
    command = [sys.executable, "-m", "service", *OURS[name]["command"], "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False, timeout=60)
    assert answer.returncode == 0, answer.stderr


def test_compose_has_every_part_of_the_product():
    assert set(SERVICES) == {"postgres", "keys", "migrate", "web", "worker", "simulator", "mailcatcher"}
    assert [name for name, service in SERVICES.items() if "demo" in service.get("profiles", [])] == [
        "simulator",
        "mailcatcher",
    ]


def test_compose_sets_only_settings_that_exist():
    known = {f"CONSENT_{field.upper()}" for field in Settings.model_fields}
    for name, service in OURS.items():
        given = {variable for variable in service["environment"] if variable.startswith("CONSENT_")}
        given |= {target.upper() for target in _mounted(service) if target.startswith("consent_")}
        assert given - known == set(), name


def test_only_the_migration_meets_the_owner_of_the_tables():
    holders = [name for name, service in SERVICES.items() if "owner_database_url" in _sources(service)]
    assert holders == ["migrate"]


def test_no_secret_stands_in_compose_itself():
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    for service in SERVICES.values():
        secret = [
            name for name in service.get("environment", {}) if re.search("SECRET|TOKEN|PASSWORD$", name)
        ]
        assert secret == []


def test_images_are_named_without_a_registry():
    for service in SERVICES.values():
        assert re.fullmatch(r"[a-z-]+(/[a-z-]+)?:[\w.]+", service["image"])


def test_make_secrets_makes_what_compose_mounts_and_keeps_what_is_there(tmp_path):
    folder = tmp_path / "secrets"
    made = _make_secrets(folder)
    assert {f".secrets/{name}" for name in made} == {secret["file"] for secret in COMPOSE["secrets"].values()}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "kek").stat().st_mode & 0o777 == 0o600
    assert made["app_password"] != made["owner_password"]
    assert _make_secrets(folder) == made


def test_the_database_of_compose_knows_an_owner_and_an_app_that_cannot_change_the_ledger(
    bare_postgres, tmp_path
):
    _make_secrets(tmp_path / "secrets")
    _run_roles_script(bare_postgres, tmp_path / "secrets")
    migrate(bare_postgres.url("consent"))
    with psycopg.connect(bare_postgres.conninfo("consent", "consent_app"), autocommit=True) as app:
        assert app.execute("SELECT count(*) FROM leaf").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("DELETE FROM leaf")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("DROP TABLE leaf")


def test_the_readme_lists_every_setting_as_it_is():
    rows = [line for line in (HERE / "README.md").read_text().splitlines() if line.startswith("| `CONSENT_")]
    assert rows == [_row(name) for name in Settings.model_fields]


def test_without_a_supported_python_the_newcomer_is_told_what_to_install(tmp_path):
    answer = subprocess.run(
        ["/bin/sh", HERE / ".ci/python"],
        capture_output=True,
        text=True,
        env={"PATH": str(tmp_path)},
        check=False,
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith("no Python 3.11, 3.12 or 3.13 on PATH: install one")


def test_a_python_that_fits_is_found():
    env = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"}
    answer = subprocess.run(
        ["/bin/sh", HERE / ".ci/python"], capture_output=True, text=True, env=env, check=True
    )
    version = subprocess.check_output([answer.stdout.strip(), "--version"], text=True)
    assert re.match(r"Python 3\.1[123]\.", version)


def _pins(lock: str) -> dict[str, str]:
    """Return each package's name and its whole entry; one that differs by Python version has the first."""
    entries = re.findall(r"^[a-z0-9].*(?:\n .*)*", (HERE / lock).read_text(), re.MULTILINE)
    return {re.split(r"[=\[ ]", entry)[0]: entry for entry in reversed(entries)}


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^a-z0-9-]", requirement)[0] for requirement in requirements}


def _version(pin: str) -> str:
    return re.search(r"==(\S+)", pin)[1]


def _sources(service: dict) -> set[str]:
    return {secret["source"] if isinstance(secret, dict) else secret for secret in service.get("secrets", [])}


def _mounted(service: dict) -> set[str]:
    return {secret["target"] if isinstance(secret, dict) else secret for secret in service.get("secrets", [])}


def _make_secrets(folder: Path) -> dict[str, bytes]:
    subprocess.run([HERE / ".ci/secrets", folder], check=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _run_roles_script(server, folder: Path) -> None:
    script = COMPOSE["configs"]["roles"]["content"].replace("$$", "$")
    path = f"{server.binaries}{os.pathsep}{os.defpath}"
    env = {"PATH": path, "PGHOST": str(server.folder), "SECRETS": str(folder)}
    subprocess.run(["/bin/sh", "-c", script], check=True, env=env)


def _row(name: str) -> str:
    field = Settings.model_fields[name]
    default = field.default
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if isinstance(default, Path) and default.is_absolute():
        default = default.relative_to(HERE)
    assert default is not PydanticUndefined
    shown = "" if default in (None, "") else f"`{default}` "
    return f"| `CONSENT_{name.upper()}` | {shown}| {field.description} |"
