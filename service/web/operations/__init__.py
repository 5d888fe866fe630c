"""Every address of the service as data: what each method reads and answers; `openapi.py` writes it down."""

from typing import Final

from service.web.api import BundleIn, QuestionIn, StandingsOut
from service.web.audits import AuditIn, AuditPageIn
from service.web.confirming import ConfirmationOut, ConfirmationsIn, ConfirmationsOut
from service.web.corrections import CorrectionIn, CorrectionOut
from service.web.erasure import ErasureIn
from service.web.events import EventIn, EventOut
from service.web.forms import FormIn, FormOut
from service.web.hooks import NotificationIn, WorkflowIn
from service.web.links import LinksIn, LinksOut
from service.web.login import LoginIn, LogoutIn
from service.web.naming import NamesIn
from service.web.operations.api import API
from service.web.operations.pages import PAGES
from service.web.operations.public import PUBLIC
from service.web.operations.shapes import TEMPLATE, Operation, reference
from service.web.pages import SearchIn
from service.web.plans import DecisionFormIn
from service.web.plans_api import DecisionIn, DecisionOut
from service.web.problems import Problem
from service.web.receipts import ReceiptOut

__all__ = ["OPERATIONS", "STRUCTS", "TEMPLATE", "Operation", "reference"]

STRUCTS: Final = (
    AuditIn,
    AuditPageIn,
    NamesIn,
    QuestionIn,
    BundleIn,
    StandingsOut,
    EventIn,
    EventOut,
    CorrectionIn,
    CorrectionOut,
    ErasureIn,
    FormIn,
    FormOut,
    DecisionFormIn,
    DecisionIn,
    DecisionOut,
    LoginIn,
    LogoutIn,
    SearchIn,
    Problem,
    ReceiptOut,
    LinksIn,
    LinksOut,
    ConfirmationsIn,
    ConfirmationsOut,
    ConfirmationOut,
    NotificationIn,
    WorkflowIn,
)

OPERATIONS: Final = (*API, *PUBLIC, *PAGES)
