from service.ledger.scrub import Damage, looks
from service.ledger.scrub.share import Share

from .conftest import Site


def test_a_running_service_is_alive_and_ready(site: Site):
    assert site.client.get("/healthz").json() == {"status": "alive"}
    assert site.client.get("/readyz").json() == {"status": "ready"}


def test_a_service_whose_sequencer_has_stopped_is_alive_and_not_ready(site: Site):
    site.edge.intake.stop()
    assert site.client.get("/healthz").status_code == 200
    answer = site.client.get("/readyz")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_damage_found_by_the_nightly_look_is_told_and_stops_nothing(site: Site):
    now = site.edge.now()
    with site.edge.db.begin() as tx:
        size = site.edge.intake.store.size(tx)
        found = [Damage(where="leaf.hash, entry 0", what="not as it was written")]
        told = {"night": now.date(), "began": now.date(), "size": size}
        looks.keep(tx, Share(), found, **told, started_at=now, finished_at=now)
    answer = site.client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "stored": "red", "damaged": 1}
