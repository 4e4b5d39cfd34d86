"""The page of settings is what the program would print, and every setting can be left alone."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest

from app import settings
from app.settings import Setting, SettingError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings.page()


@pytest.mark.parametrize("setting", settings.ALL, ids=lambda setting: setting.name)
def test_a_default_passes_its_own_reader(setting: Setting) -> None:
    assert settings.value(setting, Namespace(), {}) == setting.read(setting.default)


@pytest.mark.parametrize("setting", settings.ALL, ids=lambda setting: setting.name)
def test_each_setting_is_on_the_page_once(setting: Setting) -> None:
    assert settings.page().count(f"| `{setting.flag}` | `{setting.variable}` |") == 1


def test_a_flag_wins_over_the_environment_and_that_over_the_default() -> None:
    environment = {"TAXIMETER_PORT": "9000"}
    assert settings.value(settings.PORT, Namespace(port="9001"), environment) == 9001
    assert settings.value(settings.PORT, Namespace(port=None), environment) == 9000
    assert settings.value(settings.PORT, Namespace(port=None), {}) == 8080


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (settings.PORT, "65536"),
        (settings.PORT, "-1"),
        (settings.PORT, "٣"),
        (settings.WORKERS, "0"),
        (settings.DATABASE_URL, "mysql://host"),
        (settings.API_KEY, "x" * 201),
        (settings.API_KEY, "two words"),
        (settings.API_KEY, " "),
        (settings.API_KEY, "line\n"),
        (settings.API_KEY, "clé"),
        (settings.API_KEY, "\x7f"),
        (settings.EVENT_AGE_MAX, "35"),
        (settings.CLOSE_GRACE, "none"),
        (settings.DRAIN, "none"),
        (settings.DRAIN, "601s"),
        (settings.DRAIN, "2"),
        (settings.METRICS_TOKEN, "two words"),
        (settings.NO_METRICS, "maybe"),
        (settings.ALLOW_ORIGIN, "*"),
        (settings.ALLOW_ORIGIN, "null"),
        (settings.ALLOW_ORIGIN, "app.example.com"),
        (settings.ALLOW_ORIGIN, "https://app.example.com/"),
        (settings.ALLOW_ORIGIN, "https://*.example.com"),
        (settings.ALLOW_ORIGIN, "https://app.example.com, ftp://host"),
    ],
)
def test_a_bad_value_is_refused_by_name(setting: Setting, text: str) -> None:
    with pytest.raises(SettingError, match=f"{setting.variable} is "):
        settings.value(setting, Namespace(), {setting.variable: text})
    with pytest.raises(SettingError, match=f"{setting.flag} is "):
        settings.value(setting, Namespace(**{setting.name: text}), {})


@pytest.mark.parametrize("text", ["", "k", "x" * 200, "!~", "demo-key"])
def test_a_key_that_a_header_carries_is_taken_as_it_is(text: str) -> None:
    assert settings.value(settings.API_KEY, Namespace(), {"TAXIMETER_API_KEY": text}) == text


def test_a_bad_key_is_not_printed() -> None:
    with pytest.raises(SettingError) as refused:
        settings.value(settings.API_KEY, Namespace(), {"TAXIMETER_API_KEY": "my own secret"})
    assert "secret" not in str(refused.value)
    assert "1 to 200 printable ASCII characters" in str(refused.value)


def test_origins_are_given_with_commas_or_by_the_flag_again() -> None:
    setting = settings.ALLOW_ORIGIN
    expected = ["https://a.example", "http://b:8080"]
    assert settings.value(setting, Namespace(), {setting.variable: "https://A.example, http://b:8080,"}) == expected
    parser = ArgumentParser()
    settings.add_flags(parser, (setting,))
    flags = parser.parse_args([setting.flag, "https://a.example", setting.flag, "http://b:8080"])
    assert settings.value(setting, flags, {setting.variable: "https://other.example"}) == expected
    assert settings.value(setting, parser.parse_args([]), {}) == []


def test_a_switch_is_given_without_a_value_or_by_a_word() -> None:
    setting = settings.NO_METRICS
    parser = ArgumentParser()
    settings.add_flags(parser, (setting,))
    assert settings.value(setting, parser.parse_args([setting.flag]), {setting.variable: "false"}) is True
    assert settings.value(setting, parser.parse_args([]), {setting.variable: "True"}) is True
    assert settings.value(setting, parser.parse_args([]), {setting.variable: ""}) is False
    assert settings.value(setting, parser.parse_args([]), {}) is False


def test_the_drain_is_seconds() -> None:
    assert settings.value(settings.DRAIN, Namespace(), {"TAXIMETER_DRAIN": "10m"}) == 600
    assert settings.value(settings.DRAIN, Namespace(), {"TAXIMETER_DRAIN": "0s"}) == 0
