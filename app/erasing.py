"""Erasing a person: the key that sealed their fields is destroyed, and the log says when and by whom."""

from __future__ import annotations

from app.sealing import destroy_key
from app.service import Caller, Service
from app.transaction import transaction
from domain.customer import Customer

COMMAND = "customer.erase_personal_data"


async def erase_customer(service: Service, caller: Caller, customer_id: str) -> bool:
    """Erase a customer's personal data; ``False`` when there was nothing to erase. Raises ``NotFound``.

    The key goes and the fact that says so comes in one transaction. It holds the tenant's head, as every command does
    that seals something: what one sealed before is erased too, and one that comes after seals with a new key. Usage,
    invoices and ledgers stay: they name the customer's id and no person.
    """
    async with transaction(service, caller, COMMAND) as running:
        customer = await running.get(Customer, customer_id)
        destroyed = await destroy_key(running.database, running.tenant_id, customer_id, running.now)
        # Without a key, as after an import of the log alone, the fields are unreadable; the log should still say so.
        erased = destroyed or bool(customer.personal)
        if erased:
            customer.erase_personal_data(running.now)
    return erased
