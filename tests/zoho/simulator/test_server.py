"""Running: on loopback only, in a thread that ends, alone as a program, and with a mapping that fits."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from threading import enumerate as threads

import httpx
import pytest

from service.zoho.simulator import names, policy_toml, running

POLICY = Path(__file__).parents[3] / "policies" / "zoho.toml"


def running_threads():
    return [thread.name for thread in threads()].count("zoho-simulator")


def test_the_thread_and_the_port_are_gone_after_the_block():
    before = running_threads()
    with running(contacts=20) as sim:
        assert sim.url.startswith("http://127.0.0.1:")
        assert running_threads() == before + 1
    assert running_threads() == before
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{sim.url}/_control/clock", trust_env=False)


def test_the_mapping_that_fits_is_the_one_that_ships():
    shipped, ours = (tomllib.loads(text) for text in (POLICY.read_text(), policy_toml()))
    assert ours["crm"] == shipped["crm"]
    assert ours["campaigns"] == shipped["campaigns"]
    assert ours["campaigns"]["lists"][0]["key"] == names.LIST_KEY


def test_alone_it_prints_one_line_with_its_address():
    program = "from service.zoho.simulator import serve; serve(contacts=20, seed=1, centres=('us', 'in'))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            told = json.loads(process.stdout.readline())
            url = told.pop("url")
            info = httpx.get(f"{url}/oauth/serverinfo", trust_env=False).json()
            assert info == {"result": "success", "locations": told}
            assert set(told) == {"us", "in"}
            assert httpx.get(f"{url}/_control/truth", trust_env=False).json()["contacts"] == 20
        finally:
            process.terminate()
