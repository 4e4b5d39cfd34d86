"""Stored events: every sample ever stored still loads, and what is not known fails loudly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eventsourcing.persistence import MapperDeserialisationError, StoredEvent

from projections.mapper import KINDS, MAPPER, to_fact, to_stored

SAMPLES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "golden" / "stored_events.json").read_text(encoding="utf-8")
)


def stored(sample: dict[str, Any], **changes: Any) -> StoredEvent:
    whole = sample | changes
    return StoredEvent(whole["originator_id"], whole["originator_version"], whole["kind"], whole["state"].encode())


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["kind"])
def test_a_stored_sample_loads_and_is_stored_the_same_again(sample: dict[str, Any]) -> None:
    fact = to_fact(stored(sample))
    kind = KINDS[sample["kind"]]
    assert type(fact) is kind
    (again,) = to_stored([fact])
    if json.loads(sample["state"]).get("class_version", 1) == kind.class_version:
        assert again == stored(sample)
    else:
        assert to_fact(again) == fact


def test_every_form_of_every_kind_has_a_sample() -> None:
    forms = {(sample["kind"], json.loads(sample["state"]).get("class_version", 1)) for sample in SAMPLES}
    assert forms == {(name, form) for name, kind in KINDS.items() for form in range(1, kind.class_version + 1)}


def test_no_kind_is_a_module_path() -> None:
    assert all(":" not in kind and "domain." not in kind for kind in KINDS)


def test_an_unknown_kind_fails_loudly_and_imports_nothing() -> None:
    with pytest.raises(MapperDeserialisationError, match="os:system"):
        to_fact(stored(SAMPLES[0], kind="os:system"))


def test_an_unknown_field_fails_loudly() -> None:
    state = json.loads(SAMPLES[0]["state"]) | {"surprise": 1}
    with pytest.raises(MapperDeserialisationError, match="unknown fields"):
        to_fact(stored(SAMPLES[0], state=json.dumps(state)))


def test_a_missing_field_fails_loudly() -> None:
    with pytest.raises(MapperDeserialisationError, match="cannot be read"):
        to_fact(stored(SAMPLES[0], state="{}"))


def test_an_older_form_is_lifted_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = next(sample for sample in SAMPLES if sample["kind"] == "meter.described")
    state = json.loads(sample["state"])
    state["label"] = state.pop("name")

    def lift(old: dict[str, Any]) -> None:
        old["name"] = old.pop("label")

    kind = KINDS["meter.described"]
    monkeypatch.setattr(kind, "class_version", 2)
    monkeypatch.setattr(kind, "upcast_v1_v2", staticmethod(lift), raising=False)
    fact = MAPPER.to_domain_event(stored(sample, state=json.dumps(state)))
    assert vars(fact)["name"] == "Tokens!"
