"""The command line."""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import ArgumentParser, Namespace

import asyncpg

from app import __version__, commands, settings
from app.database import DatabaseError
from app.engine.problems import EngineError
from app.settings import SettingError, add_flags
from app.supervisor import serve
from domain.errors import Refusal


def parser() -> ArgumentParser:
    """Every command and its flags."""
    top = ArgumentParser(prog="taximeter", description="Usage metering and billing on one immutable log.")
    top.add_argument("--version", action="version", version=f"taximeter {__version__}")
    sub = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, *flags: settings.Setting) -> ArgumentParser:
        made = sub.add_parser(name, help=text, description=text)
        add_flags(made, flags)
        return made

    web = (settings.HOST, settings.PORT, settings.WORKERS, settings.ALLOW_ORIGIN, settings.LOG_FORMAT)
    command(
        "serve", "serve the API, project and close cycles", *web, *settings.DATABASE, settings.TENANT, *settings.RULES
    )
    command("migrate", "bring the database to this program's schema", *settings.DATABASE)
    command("project", "fold the log into the read models until stopped", *settings.DATABASE, *settings.RULES)
    command("rebuild", "make all read models anew from the log", *settings.DATABASE)
    due = command("close-due", "close every cycle that is due, once", *settings.DATABASE, *settings.RULES)
    due.add_argument("--json", action="store_true", help="print what was done as JSON")
    command(
        "check-ledgers", "prove that every ledger of credits and money adds up", *settings.DATABASE, *settings.RULES
    )
    key = sub.add_parser("key", help="API keys").add_subparsers(dest="action", required=True, metavar="ACTION")
    create = key.add_parser("create", help="make a key (and its tenant) and show it once")
    add_flags(create, (settings.TENANT, *settings.DATABASE))
    create.add_argument("--scope", default="write", choices=("ingest", "read", "write"), help="what the key may do")
    create.add_argument("--name", default="", help="a label")
    create.add_argument("--test", action="store_true", help="begin the tenant's test mode: time moves by command only")
    watched = command("watch", "show a customer's usage and cost as they happen", settings.URL, settings.API_KEY)
    watched.add_argument("customer", metavar="CUSTOMER", help="the customer's id")
    example = sub.add_parser("example", help="examples against a running service")
    flights = example.add_subparsers(dest="action", required=True, metavar="EXAMPLE").add_parser(
        "flights", help="bill every flight that left New York in 2013"
    )
    add_flags(flights, (settings.URL, settings.API_KEY))
    return top


COMMANDS = {
    "migrate": commands.migrate_database,
    "project": commands.project,
    "rebuild": commands.rebuild_read_models,
    "close-due": commands.close_what_is_due,
    "check-ledgers": commands.check_every_ledger,
    "key": commands.create_api_key,
    "watch": commands.watch_customer,
}


def run(flags: Namespace) -> int:
    """Run one command; its exit status."""
    if flags.command == "serve":
        return serve(flags, os.environ)
    if flags.command == "example":
        return commands.run_flights(flags, os.environ)
    return asyncio.run(COMMANDS[flags.command](flags, os.environ))


def main() -> None:
    """Run the command line. Errors that a person can mend are one line; the exit status is 2 then."""
    try:
        status = run(parser().parse_args())
    except (SettingError, EngineError, DatabaseError, Refusal) as error:
        print(f"taximeter: {error}", file=sys.stderr)
        status = 2
    except (OSError, asyncpg.PostgresError) as error:
        print(f"taximeter: the database cannot be used: {error}", file=sys.stderr)
        status = 2
    except ExceptionGroup as group:
        print(f"taximeter: {group.exceptions[0]}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
