"""Look at everything that is stored: the log, then what stands beside it entry by entry, person by person."""

from collections.abc import Collection, Iterator

from service.intake.scrub.beside import Beside
from service.intake.scrub.persons import Persons
from service.ledger.fence import Fence
from service.ledger.index import commit_key
from service.ledger.note import Verifies
from service.ledger.scrub import Part
from service.ledger.scrub.lists import Lists
from service.ledger.scrub.outside import Outside
from service.ledger.scrub.published import Published
from service.ledger.scrub.rows import Rows
from service.ledger.scrub.share import WHOLE, Share
from service.ledger.scrub.tree import Tree
from service.ledger.scrub.walls import Walls
from service.ledger.store import Store
from service.policy import PolicySet
from service.vault import Vault
from service.vault.keys import Keys


def of_the_log(keys: Keys, fence: Fence | None = None, share: Share = WHOLE) -> Iterator[Part]:
    """Yield what looks at the log, in the order in which findings explain each other."""
    heads: tuple[Verifies, ...] = (keys.log.verifier, keys.log_pq.verifier, *keys.log_verifiers[1:])
    store = Store(keys.log.name)
    tree = Tree(store=store, heads=heads, ingest=keys.ingest_verifiers, share=share)
    lists = Lists(store=store, key_commitment=commit_key(keys.directory), share=share)
    yield Part(name="walls", look=Walls(share=share).look)
    yield Part(name="log", look=tree.look)
    yield Part(name="outside", look=Outside(store=store, fence=fence).look)
    yield Part(name="checkpoints", look=Published(store=store, heads=heads, share=share).look)
    yield Part(name="idempotency keys", look=Rows(share=share).look)
    yield Part(name="index", look=lists.look)


def beside_the_log(
    keys: Keys, policy: PolicySet, erased: Collection[bytes] = (), share: Share = WHOLE
) -> Iterator[Part]:
    """Yield what looks at events, payloads and persons; `erased` are those of the list outside."""
    vault = Vault(keys)
    yield Part(name="events and payloads", look=Beside(vault=vault, listed=erased, share=share).look)
    persons = Persons(vault=vault, policy=policy, directory=keys.directory, share=share)
    yield Part(name="persons", look=persons.look)
