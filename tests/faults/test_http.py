"""A real server over real connections: a storm of one request, and more work than the queue holds."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPMessage

import pytest

from service.db import Database
from service.ledger.sequencer import LONGEST_QUEUE
from service.ledger.store import Store
from service.vault.keys import open_keys
from service.web.auth import EVENTS_WRITE, create_key
from tests import running
from tests.test_crash import Auditor, alive, chosen
from tests.waiting import until

CONNECTIONS = 64
ARRAY = 1000
PATIENCE_S = 60
NOTICE = {**running.NOTICE, "notice_version": "2026-01"}


class House:
    """The service in a process of its own, and its ledger as an auditor sees it."""

    def __init__(self, url: str, folder) -> None:
        self.told = chosen(folder, url)
        self.keys = open_keys(self.told)
        self.database = Database(url)
        self.key = create_key(self.database, "load", [EVENTS_WRITE])
        self.auditor = Auditor(self.database, self.keys)

    def post(self, port: int, body: object, **more: str) -> tuple[int, HTTPMessage, object]:
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **more}
        with closing(connection):
            connection.request("POST", "/api/events", json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, json.loads(answer.read())

    def close(self) -> None:
        self.database.close()


@pytest.fixture
def house(sqlite_url, tmp_path):
    with closing(House(sqlite_url, tmp_path)) as house:
        yield house


def granted(name: str, **more: str) -> dict[str, object]:
    told = {"category": "consent.granted", "purpose": "marketing", "evidence": NOTICE}
    return {**told, "email": f"{name}@example.org", **more}


@pytest.mark.crash
def test_a_storm_of_one_key_from_64_connections_is_one_entry_and_64_equal_receipts(house, figures):
    together = threading.Barrier(CONNECTIONS)
    with alive(house.told) as (_, port):
        assert house.post(port, granted("first"), **{"Idempotency-Key": "first"})[0] == 201

        def post(_: int) -> tuple[int, HTTPMessage, object]:
            together.wait(PATIENCE_S)
            return house.post(port, granted("storm"), **{"Idempotency-Key": "storm"})

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            found = list(pool.map(post, range(CONNECTIONS)))
    statuses = [status for status, _, _ in found]
    assert sorted(set(statuses)) == [200, 201]
    assert statuses.count(201) == 1
    assert len({told["receipt"] for _, _, told in found}) == 1
    house.auditor.look([found[0][2]["receipt"].encode()])
    assert house.auditor.heads[-1].size == 1 + 2 + 2
    figures("storm of one key over HTTP", connections=CONNECTIONS, entries=1, different_receipts=1)


@pytest.mark.crash
def test_a_full_queue_answers_503_with_retry_after_and_nothing_is_half_accepted(house, figures):
    arrays = [
        [granted(f"a{n}-{m}", key=f"a{n}-{m}") for m in range(ARRAY)]
        for n in range(LONGEST_QUEUE // ARRAY + 3)
    ]
    with alive(house.told) as (_, port):
        assert house.post(port, granted("first"), **{"Idempotency-Key": "first"})[0] == 201
        with ThreadPoolExecutor(len(arrays)) as pool:
            with house.database.begin() as tx:
                Store(house.keys.log.name).lock(tx)  # nothing can be appended until everybody has asked
                waiting = [pool.submit(house.post, port, array) for array in arrays]
                until(lambda: any(one.done() for one in waiting), within_s=20)
                refused = house.post(port, granted("x"), **{"Idempotency-Key": "x"})
            found = [one.result(PATIENCE_S) for one in waiting]
        assert refused[0] == 503
        assert int(refused[1]["Retry-After"]) >= 1
        before = [
            told
            for status, _, told in found
            if status != 503
            for told in told
            if told["status"] == "recorded"
        ]
        turned_away = ARRAY * len(arrays) - len(before)
        again = [house.post(port, array) for array in arrays]
        assert house.post(port, granted("x"), **{"Idempotency-Key": "x"})[0] == 201
    receipts = {told["receipt"].encode() for _, _, array in again for told in array}
    assert len(receipts) == ARRAY * len(arrays)
    assert {told["receipt"].encode() for told in before} <= receipts
    house.auditor.look(sorted(receipts))
    assert turned_away > 0
    figures("full queue over HTTP", asked=ARRAY * len(arrays), turned_away=turned_away, half_accepted=0)
