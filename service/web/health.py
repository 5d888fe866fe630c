"""Is the process up (`/healthz`), and can it do its work (`/readyz`)."""

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from sqlalchemy.exc import SQLAlchemyError

from service.errors import Unavailable
from service.ledger.attestors import Level, attestors, worst
from service.ledger.scrub import looks
from service.web.edge import Edge


@get("/healthz", name="healthz", sync_to_thread=False)
def healthz() -> Response[bytes]:
    """Answer as long as the process answers at all."""
    return _ok("alive")


@get("/readyz", name="readyz", sync_to_thread=True)
def readyz(edge: NamedDependency[Edge]) -> Response[bytes]:
    """Answer if the log's head can be read and the sequencer takes events; 503 otherwise.

    Witnesses and time-stamping authorities that are late are told of and make no difference: consent is
    taken without them. So is what the nightly look found damaged: people's withdrawals go on.
    """
    edge.intake.require_writable()
    if not edge.intake.healthy:
        raise Unavailable("the ledger takes no events at the moment")
    try:
        with edge.db.read() as tx:
            edge.intake.store.head(tx)
            late = [one for one in attestors(tx, edge.now()) if one.level is not Level.FINE]
            looked = looks.last(tx)
    except SQLAlchemyError:
        raise Unavailable("the database does not answer") from None
    told: dict[str, object] = {}
    if late:
        told |= {"outside": worst(late).name.lower(), "silent": [one.name for one in late]}
    if looked is not None and looked.damaged:
        told |= {"stored": "red", "damaged": looked.damaged}
    return Response(msgspec.json.encode({"status": "ready", **told}), media_type="application/json")


def _ok(status: str) -> Response[bytes]:
    return Response(b'{"status":"%s"}' % status.encode(), media_type="application/json")
