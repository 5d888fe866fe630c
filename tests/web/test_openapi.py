import re

from openapi_spec_validator import validate

from service.web.operations import OPERATIONS
from service.web.site import ROUTES

from .conftest import Site


def routes() -> set[tuple[str, str]]:
    return {
        (re.sub(r"\{(\w+):(?:str|path|int)\}", r"{\1}", path) or "/", method.lower())
        for route in ROUTES
        for path in route.paths
        for method in route.http_methods
    }


def test_the_document_is_valid_openapi(site: Site):
    validate(site.client.get("/openapi.json").json())


def test_the_document_describes_every_address_and_no_other():
    assert {(operation.path, operation.method) for operation in OPERATIONS} == routes()


def test_the_document_says_that_unknown_fields_are_refused(site: Site):
    schemas = site.client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["EventIn"]["additionalProperties"] is False
    assert "email" in schemas["EventIn"]["required"]


def test_there_is_no_page_to_try_things_out(site: Site):
    for path in ("/schema", "/schema/openapi.json", "/schema/swagger", "/docs"):
        assert site.client.get(path).status_code == 404
