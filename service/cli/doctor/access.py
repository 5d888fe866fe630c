"""Checks of how Zoho lets us in: credentials, scopes, data centre."""

from collections.abc import Iterator

from service.cli.doctor.finding import Look, fail, fine, warn
from service.cli.doctor.scene import Scene
from service.errors import ZohoDenied
from service.settings import Settings
from service.vault import connection
from service.zoho import probes
from service.zoho.centres import of_accounts_url
from service.zoho.scopes import missing

CONSOLE = "API console > Self Client > Generate Code"


def credentials(scene: Scene) -> Iterator[Look]:
    """Look at who we are to Zoho: a token is fetched, and the hosts belong together."""
    zoho = scene.zoho.open()
    stored = scene.stored()
    chosen = connection.applied(scene.settings, stored)
    is_stored = stored is not None and chosen.zoho_refresh_token is stored.refresh_token
    source = f"connected as {stored.organisation}" if stored and is_stored else "from the environment"
    yield fine(f"an access token, by the refresh token {source}, from {chosen.zoho_accounts_url}")
    if stored is not None and not is_stored:
        todo = "unset CONSENT_ZOHO_REFRESH_TOKEN and CONSENT_ZOHO_CLIENT_ID to use what is stored, or run "
        yield warn(
            f"the environment's credentials win over the stored connection to {stored.organisation}",
            f"{todo}`consent-ledger connect --revoke`",
            "CONSENT_ZOHO_REFRESH_TOKEN",
        )
    yield from _hosts(chosen)
    domain = zoho.oauth.token().api_domain
    if domain is not None and domain.rstrip("/") != chosen.zoho_crm_url.rstrip("/"):
        yield warn(
            f"Zoho says that CRM answers at {domain}, the settings say {chosen.zoho_crm_url}",
            "set CONSENT_ZOHO_CRM_URL to what Zoho says",
            "CONSENT_ZOHO_CRM_URL",
        )


def _hosts(chosen: Settings) -> Iterator[Look]:
    """Yield a failure for each host of another data centre than the accounts host."""
    centre = of_accounts_url(chosen.zoho_accounts_url)
    if centre is None:
        return
    for name, expected in (("zoho_crm_url", centre.crm_url), ("zoho_campaigns_url", centre.campaigns_url)):
        if getattr(chosen, name).rstrip("/") != expected:
            setting = f"CONSENT_{name.upper()}"
            yield fail(
                f"{setting} is not of the data centre {centre.name}, whose token it would refuse",
                f"set it to {expected}",
                setting,
            )


def scopes(scene: Scene) -> Iterator[Look]:
    """Look at what the token may do: by its own words, else by harmless reads."""
    zoho, mapping = scene.zoho.need(), scene.policy.need().zoho
    granted = zoho.oauth.token().scopes
    if granted is None:
        yield from _probed(list(probes.refused(zoho, mapping)))
        return
    lacking = missing(granted, mapping)
    for scope in lacking:
        seen = f"the token lacks {scope.name}: {scope.lost or scope.why}"
        todo = "run `consent-ledger connect --replace` with all scopes"
        yield fail(seen, todo, CONSOLE) if scope.required else warn(seen, todo, CONSOLE)
    if not any(scope.required for scope in lacking):
        yield fine(f"the token names {len(granted)} scopes, every one that is needed among them")


def _probed(refused: list[tuple[str, ZohoDenied]]) -> Iterator[Look]:
    for scope, error in refused:
        todo = "run `consent-ledger connect --replace` with all scopes"
        yield fail(f"a read that needs {scope} is refused ({error.code})", todo, CONSOLE)
    if not refused:
        yield warn(
            "Zoho does not name the token's scopes; every read was allowed, writes were not tried",
            "nothing, unless a repair is refused: then make a token with all scopes",
            CONSOLE,
        )
