from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Tampered
from service.ledger import merkle
from tests.ledger.evidence import VECTORS, Tree, grow, sequential

LIMIT = 300
LEAVES = [merkle.leaf_hash(b"leaf %d" % index) for index in range(LIMIT)]


def split(count):
    """RFC 6962, section 2.1: the largest power of two smaller than the count."""
    power = 1
    while power * 2 < count:
        power *= 2
    return power


@cache
def defined_root(start, end):
    """The tree hash as RFC 6962 defines it, by recursion."""
    if start == end:
        return merkle.EMPTY
    if end - start == 1:
        return LEAVES[start]
    middle = start + split(end - start)
    return merkle.node_hash(defined_root(start, middle), defined_root(middle, end))


def defined_path(index, start, end):
    """PATH of RFC 6962, section 2.1.1."""
    if end - start == 1:
        return []
    middle = start + split(end - start)
    if index < middle:
        return [*defined_path(index, start, middle), defined_root(middle, end)]
    return [*defined_path(index, middle, end), defined_root(start, middle)]


def defined_subproof(old, start, end, *, whole):
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if old == end:
        return [] if whole else [defined_root(start, end)]
    middle = start + split(end - start)
    if old <= middle:
        return [*defined_subproof(old, start, middle, whole=whole), defined_root(middle, end)]
    return [*defined_subproof(old, middle, end, whole=False), defined_root(start, middle)]


def unhex(values):
    return [bytes.fromhex(value) for value in values]


def test_the_empty_tree_and_the_reference_leaves_have_their_published_hashes():
    reference = VECTORS["rfc6962_ct_reference"]
    data = unhex(reference["leaf_data"])
    assert [merkle.leaf_hash(leaf) for leaf in data] == unhex(reference["leaf_hashes"])
    roots = [grow(data[:size]).edge.root() for size in range(len(data) + 1)]
    assert roots == unhex(reference["roots_by_size"])


@pytest.mark.parametrize(("size", "root"), VECTORS["sequential_leaves"]["roots"].items())
def test_edge_and_stored_hashes_give_the_published_root(size, root):
    tree = sequential(int(size))
    assert tree.edge.root().hex() == root
    assert merkle.root(int(size), tree.read).hex() == root


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: f"{case['index']} of {case['size']}")
def test_published_inclusion_proofs_are_made_and_accepted(case):
    proof, leaf, root = unhex(case["proof"]), bytes.fromhex(case["leaf_hash"]), bytes.fromhex(case["root"])
    assert merkle.inclusion_proof(case["index"], case["size"], sequential(case["size"]).read) == proof
    assert merkle.verify_inclusion(case["index"], case["size"], leaf, proof, root)


@pytest.mark.parametrize(
    "case", VECTORS["consistency"], ids=lambda case: f"{case['size1']} to {case['size2']}"
)
def test_published_consistency_proofs_are_made_and_accepted(case):
    proof, sizes = unhex(case["proof"]), (case["size1"], case["size2"])
    assert merkle.consistency_proof(*sizes, sequential(sizes[1]).read) == proof
    assert merkle.verify_consistency(
        *sizes, bytes.fromhex(case["root1"]), bytes.fromhex(case["root2"]), proof
    )


@pytest.mark.parametrize("case", VECTORS["negative"], ids=lambda case: f"{case['kind']}: {case['why']}")
def test_published_wrong_proofs_are_refused(case):
    proof = unhex(case["proof"])
    if case["kind"] == "inclusion":
        leaf, root = bytes.fromhex(case["leaf_hash"]), bytes.fromhex(case["root"])
        assert not merkle.verify_inclusion(case["index"], case["size"], leaf, proof, root)
    else:
        roots = bytes.fromhex(case["root1"]), bytes.fromhex(case["root2"])
        assert not merkle.verify_consistency(case["size1"], case["size2"], *roots, proof)


def test_a_root_does_not_commit_to_the_size():
    case = VECTORS["size_is_not_in_the_root"]
    leaf, root, proof = bytes.fromhex(case["leaf_hash"]), bytes.fromhex(case["root"]), unhex(case["proof"])
    fitting = [size for size in range(20) if merkle.verify_inclusion(case["index"], size, leaf, proof, root)]
    assert fitting == [5, 6, 7, 8]


def test_the_root_of_every_size_is_the_defined_one():
    edge, tree = merkle.Edge(), sequential(LIMIT)
    for size in range(LIMIT + 1):
        assert edge.root() == merkle.root(size, tree.read) == defined_root(0, size)
        if size < LIMIT:
            edge.add(LEAVES[size])


def test_every_inclusion_proof_of_every_size_is_the_defined_one_and_holds():
    tree = sequential(LIMIT)
    for size in range(1, LIMIT + 1):
        root = defined_root(0, size)
        for index, proof in merkle.inclusion_proofs(range(size), size, tree.read).items():
            assert proof == defined_path(index, 0, size)
            assert merkle.verify_inclusion(index, size, LEAVES[index], proof, root)


@pytest.mark.parametrize("first", range(4))
def test_every_consistency_proof_between_all_sizes_is_the_defined_one_and_holds(first):
    tree = sequential(LIMIT)
    for old in range(first, LIMIT + 1, 4):
        for new in range(old, LIMIT + 1):
            proof = merkle.consistency_proof(old, new, tree.read)
            assert proof == (defined_subproof(old, 0, new, whole=True) if old else [])
            assert merkle.verify_consistency(old, new, defined_root(0, old), defined_root(0, new), proof)


def test_one_read_answers_any_number_of_proofs():
    tree = sequential(70_000)
    many = Tree(tree.stored, tree.edge)
    proofs = merkle.inclusion_proofs([0, 255, 256, 65_535, 65_536, 69_999], 70_000, many.read)
    assert many.reads == 1
    for index, proof in proofs.items():
        leaf = tree.stored[0, index]
        assert merkle.verify_inclusion(index, 70_000, leaf, proof, tree.edge.root())
    merkle.consistency_proof(65_537, 70_000, many.read)
    assert many.reads == 2


def test_only_leaves_and_full_subtrees_are_stored():
    levels = {level for level, _ in sequential(70_000).stored}
    assert levels == {0, 1, 2}
    assert sum(level == 1 for level, _ in sequential(70_000).stored) == 70_000 // 256
    assert sequential(70_000).stored[2, 0] == sequential(65_536).edge.root()


def test_a_missing_stored_hash_is_named_tampering():
    with pytest.raises(Tampered):
        merkle.root(3, lambda coordinates: [b"\0" * 32] * (len(coordinates) - 1))
    with pytest.raises(Tampered):
        merkle.root(3, lambda coordinates: [b"\0" * 31] * len(coordinates))


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_an_entry_outside_of_the_tree_has_no_proof(index, size):
    with pytest.raises(ValueError, match="not in a tree"):
        merkle.inclusion_proof(index, size, sequential(3).read)


def test_a_tree_does_not_shrink():
    with pytest.raises(ValueError, match="cannot have grown"):
        merkle.consistency_proof(3, 2, sequential(3).read)


@given(st.integers(0, LIMIT), st.integers(0, LIMIT))
def test_an_edge_survives_storage_and_goes_on_growing(size, more):
    edge = merkle.Edge()
    for leaf in LEAVES[:size]:
        edge.add(leaf)
    restored = merkle.Edge.from_bytes(edge.to_bytes())
    for leaf in LEAVES[size : size + more]:
        restored.add(leaf)
    assert restored.root() == defined_root(0, min(LIMIT, size + more))


@pytest.mark.parametrize("damage", [b"", b"\0" * 7, sequential(7).edge.to_bytes()[:-1], b"\0" * 8 + b"x"])
def test_a_damaged_edge_is_refused(damage):
    with pytest.raises(Tampered, match="right edge"):
        merkle.Edge.from_bytes(damage)


@given(st.data())
def test_no_proof_survives_a_changed_byte(data):
    size = data.draw(st.integers(1, LIMIT))
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, sequential(LIMIT).read)
    parts = [LEAVES[index], defined_root(0, size), *proof]
    at = data.draw(st.integers(0, len(parts) - 1))
    position, flip = data.draw(st.integers(0, 31)), data.draw(st.integers(1, 255))
    changed = bytearray(parts[at])
    changed[position] ^= flip
    leaf, root, *path = [*parts[:at], bytes(changed), *parts[at + 1 :]]
    assert not merkle.verify_inclusion(index, size, leaf, path, root)
