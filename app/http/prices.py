"""The usage-based price on the wire, and its reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from app.limits import MONEY_MAX_MINOR, PRODUCT_METERS_MAX
from app.transaction import Transaction
from domain import money, number
from domain.cycle import Interval, Unit
from domain.errors import Invalid
from domain.meter import Meter
from domain.price import MeterPrice, Price
from projections.database import Row

FREE_THRESHOLD_MAX = 2**63 - 1
"""The wire contract's int64."""

YEAR_MAX_UNITS = {Unit.Day: 20 * 366, Unit.Week: 20 * 53, Unit.Month: 240, Unit.Year: 20}
"""Twenty years, the contract's longest life of a subscription, in each unit."""

Count = Annotated[int, msgspec.Meta(ge=1)]


class MeterPriceInput(msgspec.Struct):
    """A meter's price per unit, in the currency's minor unit, beyond ``free_threshold`` units a cycle."""

    meter_id: str
    price_per_unit: Annotated[str, msgspec.Meta(examples=["0.1"])] | None = None
    free_threshold: Annotated[int | str, msgspec.Meta(examples=[10000])] | None = None
    credit_entitlement_id: str | None = None


class PriceInput(msgspec.Struct):
    """A usage-based price. ``fixed_price`` is in minor units per cycle."""

    type: Annotated[str, msgspec.Meta(examples=["usage_based_price"])]
    currency: Annotated[str, msgspec.Meta(examples=["USD"])]
    fixed_price: Annotated[int, msgspec.Meta(ge=0, le=MONEY_MAX_MINOR, examples=[500])]
    payment_frequency_count: Count
    payment_frequency_interval: Unit
    subscription_period_count: Count
    subscription_period_interval: Unit
    meters: list[MeterPriceInput] | None = None
    tax_inclusive: bool | None = None
    purchasing_power_parity: bool | None = None
    discount: int | None = None
    discount_bps: int | None = None


class MeterPriceAnswer(msgspec.Struct):
    """A meter's price, with the meter's own texts."""

    meter_id: str
    name: str
    description: str | None
    measurement_unit: str
    price_per_unit: str
    free_threshold: int | str


class PriceAnswer(msgspec.Struct):
    """A usage-based price."""

    type: str
    currency: str
    fixed_price: int
    payment_frequency_count: int
    payment_frequency_interval: Unit
    subscription_period_count: int
    subscription_period_interval: Unit
    meters: list[MeterPriceAnswer]
    tax_inclusive: bool
    purchasing_power_parity: bool
    discount: int


class ReadPrice(msgspec.Struct):
    """A price whose own fields are right; whether its meters exist is asked inside the command."""

    value: Price

    async def need_meters(self, running: Transaction) -> None:
        """Raises ``Invalid`` for a meter that the tenant does not have or that is archived."""
        for index, meter_price in enumerate(self.value.meters):
            meter = await running.find(Meter, meter_price.meter_id)
            field = f"price.meters[{index}].meter_id"
            if meter is None:
                raise Invalid(field, f"there is no meter '{meter_price.meter_id}'", "METER_NOT_FOUND")
            if meter.archived:
                raise Invalid(field, f"meter '{meter_price.meter_id}' is archived", "METER_ARCHIVED")


def read_price(given: PriceInput) -> ReadPrice:
    """The price as the domain has it. Raises ``Invalid`` naming the field."""
    if given.type != "usage_based_price":
        raise Invalid("price.type", "only usage_based_price is billed here")
    if given.discount or given.discount_bps:
        raise Invalid("price.discount", "discounts are not applied; state the price that is meant")
    if given.currency not in money.DECIMALS:
        raise Invalid("price.currency", "must be an ISO 4217 code in capitals, such as USD")
    cycle = Interval(count=given.payment_frequency_count, unit=given.payment_frequency_interval)
    period = Interval(count=given.subscription_period_count, unit=given.subscription_period_interval)
    for field, interval in (("payment_frequency_count", cycle), ("subscription_period_count", period)):
        if interval.count > YEAR_MAX_UNITS[interval.unit]:
            raise Invalid(f"price.{field}", "at most 20 years")
    return ReadPrice(
        Price(
            currency=given.currency,
            fixed_price=given.fixed_price,
            cycle=cycle,
            subscription_period=period,
            meters=_read_meters(given.meters or []),
            tax_inclusive=bool(given.tax_inclusive),
            purchasing_power_parity=bool(given.purchasing_power_parity),
        )
    )


def _read_meters(given: list[MeterPriceInput]) -> tuple[MeterPrice, ...]:
    if len(given) > PRODUCT_METERS_MAX:
        raise Invalid("price.meters", f"at most {PRODUCT_METERS_MAX} meters")
    if len({meter.meter_id for meter in given}) < len(given):
        raise Invalid("price.meters", "a meter stands in it twice")
    return tuple(_read_meter(f"price.meters[{index}]", meter) for index, meter in enumerate(given))


def _read_meter(field: str, given: MeterPriceInput) -> MeterPrice:
    if given.credit_entitlement_id is not None:
        raise Invalid(
            f"{field}.credit_entitlement_id",
            f"there is no credit entitlement '{given.credit_entitlement_id}'",
            "CREDIT_ENTITLEMENT_NOT_FOUND",
        )
    if given.price_per_unit is None:
        raise Invalid(f"{field}.price_per_unit", "is required")
    try:
        price = number.plain(money.parse_price(given.price_per_unit))
    except number.InvalidNumber as error:
        raise Invalid(f"{field}.price_per_unit", str(error)) from None
    free = given.free_threshold if given.free_threshold is not None else 0
    try:
        threshold = number.parse_plain(str(free))
    except number.InvalidNumber as error:
        raise Invalid(f"{field}.free_threshold", str(error)) from None
    if not 0 <= threshold <= FREE_THRESHOLD_MAX:
        raise Invalid(f"{field}.free_threshold", f"must be from 0 to {FREE_THRESHOLD_MAX}")
    return MeterPrice(meter_id=given.meter_id, price_per_unit=price, free_threshold=number.plain(threshold))


def threshold_answer(text: str) -> int | str:
    """A threshold as the contract's integer; a fraction, which is ours, as a decimal string."""
    return int(text) if "." not in text else text


def price_answer(price: Price, meters: Mapping[str, Row]) -> PriceAnswer:
    """A price on the wire; ``meters`` holds the rows of its meters by id."""
    return PriceAnswer(
        type="usage_based_price",
        currency=price.currency,
        fixed_price=price.fixed_price,
        payment_frequency_count=price.cycle.count,
        payment_frequency_interval=price.cycle.unit,
        subscription_period_count=price.subscription_period.count,
        subscription_period_interval=price.subscription_period.unit,
        meters=[
            MeterPriceAnswer(
                meter_id=meter.meter_id,
                name=meters[meter.meter_id]["name"],
                description=meters[meter.meter_id]["description"],
                measurement_unit=meters[meter.meter_id]["measurement_unit"],
                price_per_unit=meter.price_per_unit,
                free_threshold=threshold_answer(meter.free_threshold),
            )
            for meter in price.meters
        ],
        tax_inclusive=price.tax_inclusive,
        purchasing_power_parity=price.purchasing_power_parity,
        discount=0,
    )
