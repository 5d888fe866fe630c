"""What connecting says on the terminal: the scopes and why, and what came of it. Never a secret."""

from rich.console import Console
from rich.table import Table

from service.settings import Settings
from service.vault.connection import Connection
from service.zoho.scopes import ASKED, SCOPES, Scope


def tell_scopes(out: Console) -> None:
    """Say which scopes are needed and why, and the line to paste."""
    table = Table(box=None, pad_edge=False)
    table.add_column("scope", no_wrap=True)
    table.add_column("why")
    for one in SCOPES:
        table.add_row(one.name, one.why if one.required else f"{one.why} (without: {one.lost})")
    out.print(table)
    out.print(f"\nTo paste:\n{ASKED}", soft_wrap=True)


def tell_outcome(
    out: Console,
    kept: Connection,
    lacking: list[Scope],
    environment: Settings,
    *,
    former: Connection | None,
    revoked: bool,
) -> None:
    """Say what was connected, what it can do without, and what is left to do."""
    out.print(f"\n[bold green]connected[/] {kept.organisation} (organisation {kept.zgid})")
    out.print("the refresh token is stored encrypted in the database; restart `serve` and `worker`")
    for one in lacking:
        out.print(f"[yellow]without[/] {one.name}: {one.lost}")
    if not kept.scopes:
        out.print(
            "[yellow]note[/] Zoho did not name the token's scopes; reads were tried, writes cannot be: "
            "`consent-ledger doctor` looks again"
        )
    if former is not None and former.zgid != kept.zgid:
        out.print(f"[yellow]note[/] this is another organisation than before ({former.organisation})")
    if former is not None and not revoked:
        out.print("[yellow]note[/] the former token could not be revoked; revoke it in Zoho's API console")
    if environment.zoho_refresh_token.get_secret_value():
        out.print("[yellow]note[/] CONSENT_ZOHO_REFRESH_TOKEN is set and wins; unset it to use this")
