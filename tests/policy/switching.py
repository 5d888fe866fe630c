"""Switch shipped rules on in a copy of the policies, as counsel would: status and signature."""

import re
from pathlib import Path


def switch_on(folder: Path, rule: str) -> None:
    """Make one draft active, signed; fails if there is no such draft."""
    for file in (folder / "jurisdictions").glob("*.toml"):
        before = file.read_text()
        told = re.compile(rf'(id = "{re.escape(rule)}"\n(?:(?!\[\[rules\]\]).*\n)*?)status = "draft"')
        after = told.sub(r'\1status = "active"\nverified_by = "A. Counsel, 2026-03-01"', before)
        if after != before:
            file.write_text(after)
            return
    raise AssertionError(f"no draft {rule} ships")
