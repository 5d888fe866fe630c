"""Is the process up (`/healthz`), and can it do its work (`/readyz`)."""

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from sqlalchemy.exc import SQLAlchemyError

from service.errors import Unavailable
from service.ledger.attestors import Level, attestors, worst
from service.web.edge import Edge


@get("/healthz", name="healthz", sync_to_thread=False)
def healthz() -> Response[bytes]:
    """Answer as long as the process answers at all."""
    return _ok("alive")


@get("/readyz", name="readyz", sync_to_thread=True)
def readyz(edge: NamedDependency[Edge]) -> Response[bytes]:
    """Answer if the log's head can be read and the sequencer takes events; 503 otherwise.

    Witnesses and time-stamping authorities that are late are told of and make no difference: consent is
    taken without them.
    """
    edge.intake.require_writable()
    if not edge.intake.healthy:
        raise Unavailable("the ledger takes no events at the moment")
    try:
        with edge.db.read() as tx:
            edge.intake.store.head(tx)
            late = [one for one in attestors(tx, edge.now()) if one.level is not Level.FINE]
    except SQLAlchemyError:
        raise Unavailable("the database does not answer") from None
    if late:
        told = {"status": "ready", "outside": worst(late).name.lower(), "silent": [one.name for one in late]}
        return Response(msgspec.json.encode(told), media_type="application/json")
    return _ok("ready")


def _ok(status: str) -> Response[bytes]:
    return Response(b'{"status":"%s"}' % status.encode(), media_type="application/json")
