"""Explanations of invoices: every line's facts and arithmetic, and the events behind it."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec
from litestar import Router, get
from litestar.params import FromPath, FromQuery, QueryParameter

from app.audit.explaining import BehindLine, DrawnGrant, InvoiceStory, LineStory, events_behind, explain_invoice
from app.audit.line_events import Judged, Reason, Show, shown
from app.audit.price_history import RecordedVersion
from app.http.auth import requires
from app.http.reading import PAGE_SIZE, Asked, PageSize, Serving, path_id, raw
from domain import instant, number
from domain.arithmetic import Step
from domain.filter import FalseCondition
from domain.grant import SourceType
from domain.price import PriceVersion
from domain.rating import LineKind
from projections.log_reader import END

After: TypeAlias = Annotated[int | None, QueryParameter(ge=1, le=END, description="The `next` of the page before")]


class VersionAnswer(msgspec.Struct):
    """A price version that was known. ``why`` says what makes it apply to the cycle or not; ``recorded_by`` who asked.

    ``price`` is the part of it that the line uses: the price of its meter, or the fixed price.
    """

    version: int
    applies: bool
    why: str
    effective_at: str | None
    position: int
    recorded_at: str
    recorded_by: Any
    price: Any


class DrawAnswer(msgspec.Struct):
    """Credits that a line drew from a grant."""

    credit_entitlement_id: str
    grant_id: str
    credits: str
    source_type: SourceType
    begins_at: str
    expires_at: str | None


class MeterAnswer(msgspec.Struct):
    """The meter as it was named at the cycle's end. ``position`` is where the log declares it."""

    meter_id: str
    name: str
    measurement_unit: str
    event_name: str
    aggregation: Any
    filter: Any
    position: int


class LineAnswer(msgspec.Struct):
    """A line, counted from 1. Its last step but in its totals is ``amount``, the one that is billed.

    ``disagreements`` says what does not come to what was billed, and is empty. ``corrects`` is the invoice of the
    closed cycle that the line corrects. ``events`` is where the events behind the line are listed.
    """

    line: int
    kind: LineKind
    product_id: str
    description: str
    amount: int
    cycle_start: str
    cycle_end: str
    agrees: bool
    disagreements: list[str]
    steps: list[Step]
    price_versions: list[VersionAnswer]
    meter: MeterAnswer | None
    draws: list[DrawAnswer]
    deciding_position: int | None
    corrects: Any
    events: str | None


class ExplanationAnswer(msgspec.Struct):
    """An invoice explained by what was known at ``position``. ``totals`` are the steps from its lines to its total.

    ``agrees`` is false when facts, rating and steps do not all come to what was billed.
    """

    invoice_id: str
    number: str
    status: str
    customer_id: str
    subscription_id: str
    currency: str
    cycle_start: str
    cycle_end: str
    position: int
    digest: str
    issued_at: str
    total_amount: int
    agrees: bool
    disagreements: list[str]
    lines: list[LineAnswer]
    totals: list[Step]


class ConditionAnswer(msgspec.Struct):
    """A condition of the meter's filter that was false. ``found`` is the event's value, ``null`` when it has none."""

    path: str
    key: str
    operator: str
    value: Any
    found: Any


class BehindAnswer(msgspec.Struct):
    """One event. ``value`` is what the meter takes out of it, ``reason`` why it did not count, ``told`` in words.

    ``late`` says that it was recorded or retracted after its cycle's own invoice; ``corrected_by`` is the document that
    took it in, once there is one.
    """

    event_id: str
    position: int
    timestamp: str
    recorded_at: str
    counted: bool
    value: str | None
    reason: Reason | None
    told: str
    conditions: list[ConditionAnswer]
    retracted_position: int | None
    late: bool
    corrected_by: Any


class BehindList(msgspec.Struct):
    """A page of events in the order of time, as known at ``position``. ``next`` is ``null`` at the end of the list.

    A page may be short, even empty, before the end: it looks at no more than 10,000 events.
    """

    items: list[BehindAnswer]
    next: int | None
    position: int


@get("/invoices/{invoice_id:str}/explain", guards=[requires("read")])
async def explain_one(request: Asked, service: Serving, invoice_id: FromPath[str]) -> ExplanationAnswer:
    """How an invoice came about: of each line the price version, the credits, and every arithmetic step."""
    story = await explain_invoice(service, request.auth, path_id(invoice_id, "invoice"))
    document, explanation = story.document, story.explanation
    return ExplanationAnswer(
        invoice_id=str(document.invoice_id),
        number=str(document.number),
        status=story.status,
        customer_id=document.customer_id,
        subscription_id=document.subscription_id,
        currency=document.currency,
        cycle_start=document.cycle_start,
        cycle_end=document.cycle_end,
        position=document.position,
        digest=str(document.digest),
        issued_at=str(document.issued_at),
        total_amount=document.total_amount,
        agrees=explanation.agrees,
        disagreements=list(explanation.disagreements),
        lines=[_line(story, line) for line in story.lines],
        totals=list(explanation.totals),
    )


def _line(story: InvoiceStory, told: LineStory) -> LineAnswer:
    line, document, ground = told.explained.line, story.document, told.ground
    corrected = ground is not None and ground.own.invoice_id != document.invoice_id
    listed = line.meter_id is not None and line.kind is not LineKind.overage
    return LineAnswer(
        line=told.number,
        kind=line.kind,
        product_id=line.product_id,
        description=line.description,
        amount=line.amount,
        cycle_start=line.cycle_start or document.cycle_start,
        cycle_end=line.cycle_end or document.cycle_end,
        agrees=not told.explained.disagreements,
        disagreements=list(told.explained.disagreements),
        steps=list(told.explained.steps),
        price_versions=[_version(version, line.meter_id) for version in told.prices],
        meter=_meter(told),
        draws=[_draw(one) for one in told.draws],
        deciding_position=told.deciding,
        corrects={"invoice_id": ground.own.invoice_id, "number": ground.own.number} if ground and corrected else None,
        events=f"/invoices/{document.invoice_id}/explain/{told.number}/events" if listed else None,
    )


def _version(recorded: RecordedVersion, meter_id: str | None) -> VersionAnswer:
    at = recorded.version.effective_at
    return VersionAnswer(
        version=recorded.index,
        applies=recorded.applies,
        why=recorded.why,
        effective_at=None if at is None else instant.text(at),
        position=recorded.position,
        recorded_at=instant.text(recorded.recorded_at),
        recorded_by=msgspec.to_builtins(recorded.origin),
        price=_price(recorded.version, meter_id),
    )


def _price(version: PriceVersion, meter_id: str | None) -> Any:
    """The part of a price that a line uses; ``None`` when the version does not price the meter."""
    if meter_id is None:
        return {"fixed_price": version.price.fixed_price}
    meter = next((meter for meter in version.price.meters if meter.meter_id == meter_id), None)
    return None if meter is None else msgspec.to_builtins(meter)


def _meter(told: LineStory) -> MeterAnswer | None:
    if told.ground is None or told.meter is None:
        return None
    counted = told.ground.usage.meter
    return MeterAnswer(
        meter_id=counted.meter_id,
        name=told.meter.name,
        measurement_unit=told.meter.measurement_unit,
        event_name=counted.event_name,
        aggregation=msgspec.to_builtins(counted.aggregation),
        filter=raw(told.meter.filter) if told.meter.filter else None,
        position=counted.created_position,
    )


def _draw(drawn: DrawnGrant) -> DrawAnswer:
    grant = drawn.grant
    return DrawAnswer(
        credit_entitlement_id=drawn.entitlement_id,
        grant_id=grant.id,
        credits=number.plain(drawn.draw.credits),
        source_type=grant.source_type,
        begins_at=instant.text(grant.begins),
        expires_at=None if grant.expires is None else instant.text(grant.expires),
    )


@get("/invoices/{invoice_id:str}/explain/{line:int}/events", guards=[requires("read")])
async def list_events_behind(
    request: Asked,
    service: Serving,
    invoice_id: FromPath[str],
    line: FromPath[int],
    show: FromQuery[Show] = Show.all,
    after: After = None,
    page_size: PageSize = PAGE_SIZE,
) -> BehindList:
    """The events behind a line, in the order of time: those that counted, and those that did not, each with its reason.

    Page on with ``after``, the ``next`` of the page before. Lines without a meter, and overage, have no events.
    """
    invoice_id = path_id(invoice_id, "invoice")
    found = await events_behind(service, request.auth, invoice_id, line, show=show, after=after, size=page_size)
    return BehindList(
        items=[_behind(event, found) for event in found.page.events],
        next=found.page.resume,
        position=found.document.position,
    )


def _behind(event: Judged, found: BehindLine) -> BehindAnswer:
    corrected = found.corrected_by.get(event.position)
    return BehindAnswer(
        event_id=event.event_id,
        position=event.position,
        timestamp=instant.text(event.timestamp),
        recorded_at=instant.text(event.recorded_at),
        counted=event.counted,
        value=event.value or None,
        reason=event.reason,
        told=event.told,
        conditions=[_condition(one) for one in event.conditions],
        retracted_position=event.retracted_position,
        late=event.late,
        corrected_by=None if corrected is None else msgspec.to_builtins(corrected),
    )


def _condition(one: FalseCondition) -> ConditionAnswer:
    condition = one.condition
    return ConditionAnswer(
        path=one.path,
        key=condition.key,
        operator=condition.operator,
        value=raw(shown(condition.value)),
        found=None if one.found is None else raw(shown(one.found)),
    )


ROUTER = Router("/", route_handlers=[explain_one, list_events_behind], tags=["Invoices"])
