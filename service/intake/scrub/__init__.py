"""Look at everything that is stored: the log, then what stands beside it entry by entry, person by person."""

from collections.abc import Collection, Iterator

from service.intake.scrub.beside import Beside
from service.intake.scrub.persons import Persons
from service.ledger.fence import Fence
from service.ledger.index import commit_key
from service.ledger.note import Verifies
from service.ledger.scrub import Part, rows, walls
from service.ledger.scrub.lists import Lists
from service.ledger.scrub.outside import Outside
from service.ledger.scrub.published import Published
from service.ledger.scrub.tree import Tree
from service.ledger.store import Store
from service.policy import PolicySet
from service.vault import Vault
from service.vault.keys import Keys


def of_the_log(keys: Keys, fence: Fence | None = None) -> Iterator[Part]:
    """Yield what looks at the log, in the order in which findings explain each other."""
    heads: tuple[Verifies, ...] = (keys.log.verifier, keys.log_pq.verifier, *keys.log_verifiers[1:])
    store = Store(keys.log.name)
    yield Part(name="walls", look=walls.look)
    yield Part(name="log", look=Tree(store=store, heads=heads, ingest=keys.ingest_verifiers).look)
    yield Part(name="outside", look=Outside(store=store, fence=fence).look)
    yield Part(name="checkpoints", look=Published(store=store, heads=heads).look)
    yield Part(name="idempotency keys", look=rows.look)
    yield Part(name="index", look=Lists(store=store, key_commitment=commit_key(keys.directory)).look)


def beside_the_log(keys: Keys, policy: PolicySet, erased: Collection[bytes] = ()) -> Iterator[Part]:
    """Yield what looks at events, payloads and persons; `erased` are those of the list outside."""
    vault = Vault(keys)
    yield Part(name="events and payloads", look=Beside(vault=vault, listed=erased).look)
    yield Part(name="persons", look=Persons(vault=vault, policy=policy, directory=keys.directory).look)
