from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Tampered
from service.ledger import merkle, tiles
from service.ledger.tiles import Tile
from tests.ledger.evidence import VECTORS, sequential

LARGE = 70_000

any_tile = st.builds(
    Tile,
    level=st.none() | st.integers(0, tiles.MAX_LEVEL),
    index=st.integers(0, 2**63),
    width=st.integers(1, tiles.WIDTH),
)


def level(named):
    return None if named == "entries" else named


def served_bytes(path, tree):
    return tiles.hash_tile(tiles.parse_path(path), tree.read)


@pytest.mark.parametrize("vector", VECTORS["tile_paths"], ids=lambda vector: vector["path"])
def test_a_tile_has_the_published_path(vector):
    tile = Tile(level=level(vector["level"]), index=vector["index"], width=vector["width"])
    assert tile.path == vector["path"]
    assert tiles.parse_path(vector["path"]) == tile


@given(any_tile)
def test_every_path_leads_back_to_its_tile(tile):
    assert tiles.parse_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x1/002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000/",
        "tile/0/000\n",
        "tile/entries/x000/000",
        "tile/data/000",
        "tile/8/0/000",
        "tile/0/\u0660\u0660\u0660",  # digits, but not ASCII
        "/tile/0/000",
        "tile/0/../000",
        "tile/0/" + "x001/" * 30 + "000",
    ],
)
def test_no_other_spelling_names_a_tile(path):
    assert tiles.parse_path(path) is None


@pytest.mark.parametrize("size", ["1", "255", "256", "257", "513"])
def test_a_small_log_has_the_published_tiles(size):
    expected = VECTORS["tiles_for_size"][size]
    found = [tile.path for tile in tiles.tiles(int(size))]
    assert found == expected["paths"]
    assert len(found) == expected["count"]


def test_a_log_of_seventy_thousand_has_the_published_tiles():
    expected = VECTORS["tiles_for_size"]["70000"]
    found = list(tiles.tiles(LARGE))
    assert len(found) == expected["count"]
    assert [tile.path for tile in found if tile.level or not tile.full] == expected["paths"]


@pytest.mark.parametrize("path", VECTORS["tile_bytes_sha256"])
def test_a_tile_of_seventy_thousand_leaves_has_the_published_bytes(path):
    assert sha256(served_bytes(path, sequential(LARGE))).hexdigest() == VECTORS["tile_bytes_sha256"][path]


def test_the_root_of_seventy_thousand_leaves_is_rebuilt_from_tiles_alone():
    tree = sequential(LARGE)
    files = {tile.path: tiles.hash_tile(tile, tree.read) for tile in tiles.tiles(LARGE)}
    assert all(len(files[tile.path]) == tiles.FULL_BYTES for tile in tiles.tiles(LARGE) if tile.full)

    def read(wanted):
        return [_from_files(files, *pair) for pair in wanted]

    assert merkle.root(LARGE, read).hex() == VECTORS["sequential_leaves"]["roots"]["70000"]


def _from_files(files, level, index):
    count = LARGE >> (8 * level)
    width = min(tiles.WIDTH, count - index // tiles.WIDTH * tiles.WIDTH)
    data = files[Tile(level=level, index=index // tiles.WIDTH, width=width).path]
    return data[index % tiles.WIDTH * 32 :][:32]


def test_the_entry_tile_of_the_vectors_is_written_and_read():
    vector = VECTORS["entry_bundle"]
    entries = [text.encode() for text in vector["entries_text"]]
    assert [tile.path for tile in tiles.entry_tiles(3)] == [vector["path"]]
    assert tiles.encode_entries(entries).hex() == vector["bytes"]
    assert tiles.decode_entries(bytes.fromhex(vector["bytes"]), 3) == entries


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=tiles.WIDTH))
def test_entries_are_read_back_as_they_were_written(entries):
    assert tiles.decode_entries(tiles.encode_entries(entries), len(entries)) == entries


@pytest.mark.parametrize("cut", range(1, 24))
def test_an_entry_tile_cut_short_is_refused(cut):
    data = bytes.fromhex(VECTORS["entry_bundle"]["bytes"])
    with pytest.raises(Tampered):
        tiles.decode_entries(data[:-cut], 3)


def test_an_entry_tile_of_another_width_than_its_name_is_refused():
    with pytest.raises(Tampered, match="holds 2 entries; its name says 3"):
        tiles.decode_entries(tiles.encode_entries([b"a", b"b"]), 3)


def test_a_full_tile_is_never_shorter_than_its_8192_bytes():
    with pytest.raises(Tampered, match="tile/0/000"):
        tiles.hash_tile(Tile(level=0, index=0), lambda wanted: [bytes(32)] * (len(wanted) - 1))


@given(st.integers(0, 600), st.integers(0, 600))
def test_what_a_log_adds_as_it_grows_is_what_its_smaller_self_did_not_have(one, other):
    old, new = sorted((one, other))
    for all_of in (tiles.tiles, tiles.entry_tiles):
        assert set(all_of(new, since=old)) == set(all_of(new)) - set(all_of(old))


@given(st.integers(1, 2**16), st.integers(0, 2))
def test_a_partial_tile_belongs_to_exactly_the_sizes_that_end_in_it(size, level):
    partial = [tile for tile in tiles.tiles(size) if tile.level == level and not tile.full]
    assert all(size in tile.sizes for tile in partial)
    count = size >> (8 * level)
    if count % 256:
        neighbour = Tile(level=level, index=count // 256, width=count % 256 % 255 + 1)
        assert size not in neighbour.sizes or neighbour in partial
