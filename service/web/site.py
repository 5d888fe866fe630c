"""All addresses of the service in one application; the composition root hands in the parts."""

from typing import Any, Final

from litestar import Litestar, Response, Router, get
from litestar.config.app import AppConfig
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency, Provide
from litestar.static_files import create_static_files_router

from service.web import (
    api,
    audits,
    confirming,
    corrections,
    deadlines,
    erasure,
    events,
    forms,
    health,
    hooks,
    links,
    log,
    login,
    pages,
    plans,
    plans_api,
    receipts,
    unsubscribe,
)
from service.web.edge import Edge
from service.web.headers import protect
from service.web.openapi import document
from service.web.problems import HANDLERS
from service.web.render import HERE
from service.web.shortcut import Shortcut


@get("/openapi.json", name="openapi", sync_to_thread=False)
def openapi(edge: NamedDependency[Edge]) -> Response[bytes]:
    """Return the document that describes every address."""
    return Response(document(edge.public_url), media_type="application/json")


ROUTES: Final = (
    events.post_events,
    forms.preflight_form,
    forms.show_form,
    forms.post_form,
    unsubscribe.show_unsubscribe,
    unsubscribe.post_unsubscribe,
    confirming.show_confirmation,
    confirming.post_confirmation,
    confirming.post_confirmation_links,
    api.post_history,
    api.post_standing,
    api.post_bundle,
    links.post_links,
    audits.post_audit,
    audits.show_audit,
    audits.audit_now,
    deadlines.show_deadlines,
    deadlines.show_names,
    corrections.post_correction,
    corrections.post_approval,
    erasure.post_erasure,
    erasure.get_certificate,
    login.show_login,
    login.post_login,
    login.post_logout,
    pages.show_search,
    pages.show_history,
    pages.download_bundle,
    plans.show_plans,
    plans.show_plan,
    plans.post_decision,
    plans.show_names,
    plans_api.get_plans,
    plans_api.get_plan,
    plans_api.post_plan_decision,
    receipts.get_receipt,
    hooks.post_notifications,
    hooks.post_workflow,
    hooks.post_happenings,
    log.show_checkpoint,
    log.show_tile,
    health.healthz,
    health.readyz,
    openapi,
)


class Site(Litestar):
    """The application, with the one address that is asked most reached past the router."""

    __slots__ = ("shortcut",)

    shortcut: Shortcut

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI's own three
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] == "/api/events" and scope["method"] == "POST":
            await self.shortcut(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_site(edge: Edge) -> Litestar:
    """Return the application; whoever serves it keeps `edge.intake` running around it.

    The framework reads no body, describes nothing and logs nothing on its own: bodies go through
    `strict`, the OpenAPI document is ours, and its log lines would carry addresses of pages.
    """
    site = Site.from_config(
        AppConfig(
            route_handlers=[*ROUTES, _static()],
            dependencies={"edge": Provide(lambda: edge, use_cache=True, sync_to_thread=False)},
            exception_handlers=HANDLERS,
            before_send=[protect],
            openapi_config=None,
            logging_config=None,
            request_max_body_size=None,
        )
    )
    assert isinstance(site, Site), "from_config builds what it is called on"
    site.shortcut = Shortcut(edge)
    return site


def _static() -> Router:
    return create_static_files_router(
        path="/static",
        directories=[HERE / "static"],
        cache_control=CacheControlHeader(public=True, max_age=3600),
        include_in_schema=False,
    )
