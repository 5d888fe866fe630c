"""What an operator is told about where the fence lies: in a backup it protects nobody against that backup."""

from service.anchor.attestation import Attestation
from service.settings import Settings

REMEDY = (
    "set CONSENT_FENCE_FILE to a folder that no backup of the database holds, or name a witness in "
    "policies/log.toml"
)


def exposed(chosen: Settings, attestation: Attestation) -> str | None:
    """Return why restoring a backup could sign a second history and bring erased people back, None if not."""
    if attestation.witnesses:
        return None
    folder = chosen.fence_path.parent
    if chosen.fence_is_restored_too:
        return (
            f"the fence and the list of erasures lie in {folder}, in the database's own folder, and no "
            "witness is named: whoever restores it signs a second history, and brings erased people back"
        )
    if chosen.fence_file is None and chosen.fence_path == chosen.former_fence_path:
        return (
            f"the home has no place for the fence, so it lies in {folder} beside the keys; a backup of that "
            "folder protects nobody against itself"
        )
    return None
