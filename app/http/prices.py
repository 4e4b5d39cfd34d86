"""The usage-based price on the wire, and its reading."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

import msgspec

from app.limits import MONEY_MAX_MINOR, PRICE_TIERS_MAX, PRODUCT_METERS_MAX
from domain import money, number
from domain.cycle import Interval, Unit
from domain.errors import Invalid
from domain.meter import Meter
from domain.price import MeterPrice, Price
from domain.tier import Tier, TierMode
from projections.aggregates import Aggregates
from projections.database import Row

FREE_THRESHOLD_MAX = 2**63 - 1
"""The wire contract's int64."""

YEAR_MAX_UNITS = {Unit.Day: 20 * 366, Unit.Week: 20 * 53, Unit.Month: 240, Unit.Year: 20}
"""Twenty years, the contract's longest life of a subscription, in each unit."""

Count = Annotated[int, msgspec.Meta(ge=1)]
Minor = Annotated[int, msgspec.Meta(ge=0, le=MONEY_MAX_MINOR, examples=[500])]


class TierInput(msgspec.Struct):
    """The price of the units up to and including ``up_to``, and ``fixed_price`` minor units once it is reached."""

    price_per_unit: Annotated[str, msgspec.Meta(examples=["0.1"])]
    up_to: Annotated[int | str, msgspec.Meta(examples=[10000])] | None = None
    fixed_price: Minor | None = None


class MeterPriceInput(msgspec.Struct):
    """A meter's price in the currency's minor unit, beyond ``free_threshold`` units a cycle.

    Flat, by ``tiers``, or per started package; with a credit entitlement, credits are used first.
    """

    meter_id: str
    price_per_unit: Annotated[str, msgspec.Meta(examples=["0.1"])] | None = None
    free_threshold: Annotated[int | str, msgspec.Meta(examples=[10000])] | None = None
    tier_mode: TierMode | None = None
    tiers: list[TierInput] | None = None
    package_size: Annotated[int | str, msgspec.Meta(examples=[1000])] | None = None
    credit_entitlement_id: str | None = None
    meter_units_per_credit: Annotated[int | str, msgspec.Meta(examples=["100"])] | None = None


class PriceInput(msgspec.Struct):
    """A usage-based price. ``fixed_price`` is in minor units per cycle."""

    type: Annotated[str, msgspec.Meta(examples=["usage_based_price"])]
    currency: Annotated[str, msgspec.Meta(examples=["USD"])]
    fixed_price: Minor
    payment_frequency_count: Count
    payment_frequency_interval: Unit
    subscription_period_count: Count
    subscription_period_interval: Unit
    meters: list[MeterPriceInput] | None = None
    tax_inclusive: bool | None = None
    purchasing_power_parity: bool | None = None
    discount: int | None = None
    discount_bps: int | None = None


class TierAnswer(msgspec.Struct):
    """One tier; the last has no ``up_to``."""

    up_to: str | None
    price_per_unit: str
    fixed_price: int


class MeterPriceAnswer(msgspec.Struct, omit_defaults=True):
    """A meter's price, with the meter's own texts. ``price_per_unit`` is null by tiers and in credits alone."""

    meter_id: str
    name: str
    description: str | None
    measurement_unit: str
    price_per_unit: str | None
    free_threshold: int | str
    tier_mode: TierMode | None = None
    tiers: list[TierAnswer] | None = None
    package_size: str | None = None
    credit_entitlement_id: str | None = None
    meter_units_per_credit: str | None = None


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


async def need_meters(running: Aggregates, price: Price) -> None:
    """Raises ``Invalid`` for a meter that the tenant does not have or that is archived."""
    for index, meter_price in enumerate(price.meters):
        meter = await running.find(Meter, meter_price.meter_id)
        field = f"price.meters[{index}].meter_id"
        if meter is None:
            raise Invalid(field, f"there is no meter '{meter_price.meter_id}'", "METER_NOT_FOUND")
        if meter.archived:
            raise Invalid(field, f"meter '{meter_price.meter_id}' is archived", "METER_ARCHIVED")


def read_price(given: PriceInput) -> Price:
    """The price as the domain has it; whether its meters exist is not asked. Raises ``Invalid`` naming the field."""
    if given.type != "usage_based_price":
        raise Invalid("price.type", "only usage_based_price is billed here")
    if given.discount or given.discount_bps:
        raise Invalid("price.discount", "discounts are not applied; state the price that is meant")
    if given.currency not in money.DECIMALS:
        raise Invalid("price.currency", "must be an ISO 4217 code in capitals, such as USD")
    cycle = Interval(count=given.payment_frequency_count, unit=given.payment_frequency_interval)
    period = Interval(count=given.subscription_period_count, unit=given.subscription_period_interval)
    check_span(cycle, "price.payment_frequency_count")
    check_span(period, "price.subscription_period_count")
    return Price(
        currency=given.currency,
        fixed_price=given.fixed_price,
        cycle=cycle,
        subscription_period=period,
        meters=read_meter_prices(given.meters or []),
        tax_inclusive=bool(given.tax_inclusive),
        purchasing_power_parity=bool(given.purchasing_power_parity),
    )


def check_span(interval: Interval, field: str) -> None:
    """Raises ``Invalid`` for an interval longer than the contract's longest."""
    if interval.count > YEAR_MAX_UNITS[interval.unit]:
        raise Invalid(field, "at most 20 years")


def read_unit_price(text: str | None, field: str) -> str | None:
    """A price per unit as plain decimal text. Raises ``Invalid``."""
    if text is None:
        return None
    try:
        return number.plain(money.parse_price(text))
    except number.InvalidNumber as error:
        raise Invalid(field, str(error)) from None


def read_decimal(value: int | str, field: str) -> Decimal:
    """A number that may come as a JSON integer or as decimal text. Raises ``Invalid``."""
    try:
        return number.parse_plain(str(value))
    except number.InvalidNumber as error:
        raise Invalid(field, str(error)) from None


def read_meter_prices(given: list[MeterPriceInput]) -> tuple[MeterPrice, ...]:
    """The prices of the meters of one product. Raises ``Invalid``, the fields named as inside of ``price``."""
    if len(given) > PRODUCT_METERS_MAX:
        raise Invalid("price.meters", f"at most {PRODUCT_METERS_MAX} meters")
    if len({meter.meter_id for meter in given}) < len(given):
        raise Invalid("price.meters", "a meter stands in it twice")
    return tuple(_read_meter(f"price.meters[{index}]", meter) for index, meter in enumerate(given))


def _read_meter(field: str, given: MeterPriceInput) -> MeterPrice:
    free = 0 if given.free_threshold is None else given.free_threshold
    price = MeterPrice(
        meter_id=given.meter_id,
        price_per_unit=read_unit_price(given.price_per_unit, f"{field}.price_per_unit"),
        free_threshold=read_threshold(free, f"{field}.free_threshold"),
        tier_mode=given.tier_mode,
        tiers=_read_tiers(given.tiers or [], f"{field}.tiers"),
        package_size=_above_zero(given.package_size, f"{field}.package_size"),
        credit_entitlement_id=given.credit_entitlement_id,
        meter_units_per_credit=_above_zero(given.meter_units_per_credit, f"{field}.meter_units_per_credit"),
    )
    _check_model(price, field)
    _check_credits(price, field)
    return price


def read_threshold(value: int | str, field: str) -> str:
    """A free threshold as plain decimal text. Raises ``Invalid``."""
    threshold = read_decimal(value, field)
    if not 0 <= threshold <= FREE_THRESHOLD_MAX:
        raise Invalid(field, f"must be from 0 to {FREE_THRESHOLD_MAX}")
    return number.plain(threshold)


def _above_zero(value: int | str | None, field: str) -> str | None:
    if value is None:
        return None
    size = read_decimal(value, field)
    if size <= 0:
        raise Invalid(field, "must be above 0")
    return number.plain(size)


def _read_tiers(given: list[TierInput], field: str) -> tuple[Tier, ...]:
    """The tiers, each above the one before; the last and only the last has no end."""
    if len(given) > PRICE_TIERS_MAX:
        raise Invalid(field, f"at most {PRICE_TIERS_MAX} tiers")
    tiers: list[Tier] = []
    below = Decimal(0)
    for index, tier in enumerate(given):
        price = read_unit_price(tier.price_per_unit, f"{field}[{index}].price_per_unit")
        assert price is not None, "each tier states its price"
        end = f"{field}[{index}].up_to"
        up_to = None if tier.up_to is None else read_decimal(tier.up_to, end)
        last = index == len(given) - 1
        if last and up_to is not None:
            raise Invalid(end, "must be absent from the last tier, which holds all further units")
        if not last:
            if up_to is None:
                raise Invalid(end, "is required of every tier but the last")
            if up_to <= below:
                raise Invalid(end, f"must be above {number.plain(below)}, where this tier begins")
            below = up_to
        tiers.append(
            Tier(
                up_to=None if up_to is None else number.plain(up_to),
                price_per_unit=price,
                fixed_price=tier.fixed_price or 0,
            )
        )
    return tuple(tiers)


def _check_model(price: MeterPrice, field: str) -> None:
    """Raises ``Invalid`` unless the fields make exactly one price model, or none where credits are used."""
    if price.tier_mode is None and price.tiers:
        raise Invalid(f"{field}.tier_mode", "is required with tiers: graduated or volume")
    if price.tier_mode is TierMode.package:
        if price.tiers:
            raise Invalid(f"{field}.tiers", "do not go with tier_mode package")
        if price.package_size is None:
            raise Invalid(f"{field}.package_size", "is required with tier_mode package")
    elif price.package_size is not None:
        raise Invalid(f"{field}.package_size", "goes with tier_mode package only")
    if price.tier_mode in (TierMode.graduated, TierMode.volume):
        if not price.tiers:
            raise Invalid(f"{field}.tiers", f"are required with tier_mode {price.tier_mode}")
        if price.price_per_unit is not None:
            raise Invalid(f"{field}.price_per_unit", "stands in each tier, not beside them")
    elif price.price_per_unit is None and (price.tier_mode or not price.credit_entitlement_id):
        raise Invalid(f"{field}.price_per_unit", "is required")


def _check_credits(price: MeterPrice, field: str) -> None:
    """Raises ``Invalid`` unless a credit entitlement and its rate come together."""
    if price.credit_entitlement_id is None and price.meter_units_per_credit is not None:
        raise Invalid(f"{field}.credit_entitlement_id", "is required with meter_units_per_credit")
    if price.credit_entitlement_id is not None and price.meter_units_per_credit is None:
        raise Invalid(f"{field}.meter_units_per_credit", "is required with credit_entitlement_id")


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
        meters=[_meter_answer(meter, meters[meter.meter_id]) for meter in price.meters],
        tax_inclusive=price.tax_inclusive,
        purchasing_power_parity=price.purchasing_power_parity,
        discount=0,
    )


def _meter_answer(price: MeterPrice, meter: Row) -> MeterPriceAnswer:
    tiers = [
        TierAnswer(up_to=tier.up_to, price_per_unit=tier.price_per_unit, fixed_price=tier.fixed_price)
        for tier in price.tiers
    ]
    return MeterPriceAnswer(
        meter_id=price.meter_id,
        name=meter["name"],
        description=meter["description"],
        measurement_unit=meter["measurement_unit"],
        price_per_unit=price.price_per_unit,
        free_threshold=threshold_answer(price.free_threshold),
        tier_mode=price.tier_mode,
        tiers=tiers or None,
        package_size=price.package_size,
        credit_entitlement_id=price.credit_entitlement_id,
        meter_units_per_credit=price.meter_units_per_credit,
    )
