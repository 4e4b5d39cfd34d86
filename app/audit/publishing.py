"""Publishing: the heads of today, signed, once the chain up to them and all that was published before fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.audit.chain_walk import Walk
from app.audit.findings import Finding, Verdict
from app.audit.heads import SignedHead, sign
from projections.log_source import LogSource


async def signed_heads(
    source: LogSource,
    key: Ed25519PrivateKey,
    now: datetime,
    published: Mapping[str, Sequence[SignedHead]],
    tenant_id: str | None = None,
) -> tuple[list[SignedHead], list[Verdict]]:
    """The heads of every tenant that has a commit, or of one, and the verdicts on those whose chain does not fit.

    Reads every commit, but none of their events. What does not fit is not signed.
    """
    tenants = [tenant_id] if tenant_id is not None else await source.tenants()
    heads, misfits = list[SignedHead](), list[Verdict]()
    for tenant in tenants:
        walk = Walk(published.get(tenant, ()))
        finding = await walk_chain(source, tenant, walk)
        if finding is not None:
            misfits.append(verdict(tenant, walk, [finding]))
        elif walk.position:
            heads.append(
                sign(
                    key,
                    tenant_id=tenant,
                    position=walk.position,
                    commits=walk.tree.size,
                    recorded_at=walk.recorded_at,
                    published_at=now,
                    digest=walk.digest,
                    tree=walk.tree.root(),
                )
            )
    return heads, misfits


async def walk_chain(source: LogSource, tenant_id: str, walk: Walk) -> Finding | None:
    """Walk a tenant's chain to its end; the first commit that does not fit, if there is one."""
    async for page in source.commits(tenant_id):
        for held in page:
            finding = walk.follow(held.commit)
            if finding is not None:
                return finding
    return walk.end(await source.head(tenant_id))


def verdict(tenant_id: str, walk: Walk, findings: list[Finding]) -> Verdict:
    """What came of a walk."""
    return Verdict(
        tenant_id=tenant_id,
        position=walk.position,
        commits=walk.tree.size,
        digest=walk.digest.hex(),
        heads=walk.compared,
        findings=findings,
    )
