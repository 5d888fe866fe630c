"""A zip file with exactly one spelling: members stored, sorted by name, dated 1980, nothing else.

Pure. Every zip program opens it, yet the same members always give the same bytes, whatever library or
year they are written in. So a reader may write the members again and compare, and no byte of the file
is left in which a change could hide.
"""

import struct
import zlib
from collections.abc import Mapping
from typing import Final

from service.errors import Tampered, TooLarge

MAX_MEMBERS: Final = 65_534  # beyond it, and beyond 4 GiB, another format (zip64) begins
MAX_BYTES: Final = (1 << 32) - 2

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION = 20  # of the zip format, the first with folders
_UNIX = 3 << 8
_STORED = 0
_DATE = 1 << 5 | 1  # 1 January 1980, the first day that the format knows
_MODE = 0o100644 << 16  # an ordinary file, readable by all


def pack(members: Mapping[str, bytes]) -> bytes:
    """Return the zip file of these members, whose names are ASCII; `TooLarge` where zip64 would begin."""
    if len(members) > MAX_MEMBERS or sum(map(len, members.values())) > MAX_BYTES // 2:
        raise TooLarge("there is more evidence than one zip file holds; ask for a shorter time")
    body, directory = bytearray(), bytearray()
    for name in sorted(members):
        data, encoded = members[name], name.encode("ascii")
        common = (_VERSION, 0, _STORED, 0, _DATE, zlib.crc32(data), len(data), len(data), len(encoded), 0)
        directory += _CENTRAL.pack(b"PK\1\2", _UNIX | _VERSION, *common, 0, 0, 0, _MODE, len(body)) + encoded
        body += _LOCAL.pack(b"PK\3\4", *common) + encoded + data
    count = len(members)
    return bytes(body + directory) + _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)


def unpack(data: bytes) -> dict[str, bytes]:
    """Return the members of a zip file of stored members, by name.

    Only what is needed to find them is looked at, so that a damaged member can be named: compare
    `pack(unpack(data))` with `data` to know that nothing was changed. Raises `Tampered` if the file is
    cut short, compressed, or not a zip file.
    """
    if len(data) < _END.size or not data.endswith(b"\0\0") or data[-_END.size :][:4] != b"PK\5\6":
        raise Tampered("this is not a whole zip file; its end is missing")
    members: dict[str, bytes] = {}
    position = 0
    while data[position : position + 4] == b"PK\3\4":
        name, content, position = _read_member(data, position)
        if name in members:
            raise Tampered(f"the zip file holds {name} twice")
        members[name] = content
    count = _END.unpack_from(data, len(data) - _END.size)[4]
    if len(members) != count or (members and data[position : position + 4] != b"PK\1\2"):
        raise Tampered(f"the zip file says that it has {count} members, but {len(members)} can be read")
    return members


def _read_member(data: bytes, position: int) -> tuple[str, bytes, int]:
    """Return name and content of the member at `position`, and where the next one begins."""
    if position + _LOCAL.size > len(data):
        raise Tampered("the zip file is cut short")
    _, _, flags, method, *_, size, _, name_length, extra_length = _LOCAL.unpack_from(data, position)
    start = position + _LOCAL.size
    content = start + name_length + extra_length
    if flags or method != _STORED or content + size > len(data):
        raise Tampered(
            "the zip file was packed by another program, or is cut short; use the file as it was handed out"
        )
    try:
        name = data[start : start + name_length].decode("ascii")
    except UnicodeDecodeError:
        raise Tampered("the zip file holds a member whose name is not ASCII") from None
    return name, data[content : content + size], content + size
