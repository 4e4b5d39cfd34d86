"""The log keeps the contract of the `eventsourcing` library's recorders: the library's own tests, on our database."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from eventsourcing.tests import persistence as contract

from app.engine.launcher import Engine
from tests.contract.recorders import LogApplicationRecorder, LogProcessRecorder, LogTrackingRecorder, Store
from tests.projections.histories import new_database


@pytest.fixture(scope="module")
async def own_dsn(engine: Engine) -> str:
    """A database of its own: the contract records kinds that no aggregate of ours has."""
    return await new_database(engine, "recorders")


@pytest.fixture(scope="module")
def store(own_dsn: str) -> Iterator[Store]:
    opened = Store(own_dsn)
    yield opened
    opened.close()


class OnTheLog:
    """A tenant of its own for every test; streams have text for names."""

    @pytest.fixture(autouse=True)
    def _use_store(self, store: Store) -> None:
        self.store = store
        self.tenant_id = f"t{uuid4().hex[:12]}"

    def new_originator_id(self) -> str:
        return str(uuid4())


class TestApplicationRecorder(OnTheLog, contract.ApplicationRecorderTestCase[LogApplicationRecorder]):
    def create_recorder(self) -> LogApplicationRecorder:
        return LogApplicationRecorder(self.store, self.tenant_id)

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestTrackingRecorder(OnTheLog, contract.TrackingRecorderTestCase):
    def create_recorder(self) -> LogTrackingRecorder:
        return LogTrackingRecorder(self.store, self.tenant_id)


class TestProcessRecorder(OnTheLog, contract.ProcessRecorderTestCase):
    def create_recorder(self) -> LogProcessRecorder:
        return LogProcessRecorder(self.store, self.tenant_id)


class TestProcessRecorderAsApplicationRecorder(OnTheLog, contract.ApplicationRecorderTestCase[LogProcessRecorder]):
    def create_recorder(self) -> LogProcessRecorder:
        return LogProcessRecorder(self.store, self.tenant_id)


class TestNonInterleaving(OnTheLog, contract.NonInterleavingNotificationIDsBaseCase):
    def create_recorder(self) -> LogApplicationRecorder:
        return LogApplicationRecorder(self.store, self.tenant_id)
