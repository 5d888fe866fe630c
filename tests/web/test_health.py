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
