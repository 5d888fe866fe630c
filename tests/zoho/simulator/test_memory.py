"""A simulator with a file goes on where it was, however it ended."""

import json
import subprocess
import sys

import httpx
import pytest

from service.zoho.simulator import running
from tests.zoho.simulator.conftest import CREDENTIALS


@pytest.fixture
def file(tmp_path):
    return str(tmp_path / "organisation.db")


def token(url):
    answer = httpx.post(f"{url}/oauth/v2/token", data=CREDENTIALS, trust_env=False).json()
    return {"Authorization": f"Zoho-oauthtoken {answer['access_token']}"}


def test_people_channels_switches_clock_credits_and_tokens_survive_a_restart(file):
    with running(contacts=40, seed=5, file=file) as sim:
        headers = token(sim.url)
        (email, *_) = sim.control("truth/single_soft_bounce")["emails"]
        sim.control("campaigns/unsubscribe", {"email": email})
        sim.control("switches", {"crm.coql_limit": 200})
        sim.control("clock", {"advance_s": 1_000})
        channel = {"channel_id": "5", "events": ["Leads.all"], "notify_url": "http://127.0.0.1:9/"}
        sim.client.post("/crm/v8/actions/watch", json={"watch": [channel]}, headers=headers)
        added = {"data": [{"Last_Name": "Kept", "Email": "kept@example.com"}]}
        number = sim.client.post("/crm/v8/Contacts", json=added, headers=headers).json()
        state, credits_left = sim.control("state"), sim.control("requests")["credits_left"]
    with running(contacts=999, seed=9, file=file) as sim:
        assert sim.control("state") == state
        assert sim.control("person", {"email": email})["campaigns"]["dnm"] is True
        assert sim.control("switches")["crm.coql_limit"]["value"] == 200
        assert sim.control("clock")["ahead_s"] == 1_000
        assert sim.control("requests")["credits_left"] == credits_left
        assert sim.client.get("/crm/v8/actions/watch", headers=headers).status_code == 200
        again = sim.client.post("/crm/v8/Contacts", json=added, headers=headers).json()
        assert again["data"][0]["details"]["id"] > number["data"][0]["details"]["id"]


def test_a_used_up_window_stays_used_up_and_a_locked_endpoint_locked(file):
    path = "/api/v1.1/custom/add"

    def ask(sim, times=1):
        answers = [sim.client.get(path, params={"resfmt": "JSON"}, headers=headers) for _ in range(times)]
        return answers[-1].json()["code"]

    with running(contacts=40, seed=5, file=file) as sim:
        headers = token(sim.url)
        assert ask(sim, times=100) == "903"
    with running(file=file) as sim:
        assert ask(sim) == "2008"
    with running(file=file) as sim:
        sim.control("clock", {"advance_s": 1_700})
        assert ask(sim) == "2008"
        sim.control("clock", {"advance_s": 101})
        assert ask(sim) == "903"


def test_the_throttle_of_tokens_is_remembered(file):
    with running(contacts=40, seed=5, file=file) as sim:
        for _ in range(10):
            token(sim.url)
    with running(file=file) as sim:
        asked = sim.client.post("/oauth/v2/token", data=CREDENTIALS)
        assert asked.status_code == 400
        assert asked.content == (
            b'{"error_description":"You have made too many requests continuously. Please try again after '
            b'some time.","error":"Access Denied","status":"failure"}'
        )
        sim.control("clock", {"advance_s": 601})
        assert "access_token" in sim.client.post("/oauth/v2/token", data=CREDENTIALS).json()


def test_replanting_empties_the_file_too(file):
    with running(contacts=40, seed=5, file=file) as sim:
        headers = token(sim.url)
        sim.client.post("/crm/v8/Contacts", json={"data": [{"Last_Name": "Gone"}]}, headers=headers)
        sim.control("replant", {"contacts": 30})
        state = sim.control("state")
    with running(file=file) as sim:
        assert sim.control("state") == state
        assert state["people"] == 30


def test_a_killed_simulator_has_lost_nothing_that_it_answered(file):
    program = f"from service.zoho.simulator import serve; serve(contacts=30, seed=1, file={file!r})"

    def start():
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        return process, json.loads(process.stdout.readline())["url"]

    process, url = start()
    headers = token(url)
    body = {"data": [{"Last_Name": "Kept", "Email": "kept@example.com"}]}
    answer = httpx.post(f"{url}/crm/v8/Contacts", json=body, headers=headers, trust_env=False)
    process.kill()
    process.communicate()
    process, url = start()
    try:
        number = answer.json()["data"][0]["details"]["id"]
        record = httpx.get(f"{url}/crm/v8/Contacts/{number}", headers=headers, trust_env=False)
        assert record.json()["data"][0]["Email"] == "kept@example.com"
    finally:
        process.terminate()
        process.communicate()
