"""The command line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

import asyncpg

from app import __version__, commands, settings
from app.audit.commands import add_audit, run_audit
from app.backup.commands import add_backup_flags, add_restore_flags, back_up, restore
from app.database import DatabaseError
from app.engine.problems import EngineError
from app.settings import SettingError, add_flags
from app.simulating.flags import add_simulate_flags
from app.supervisor import serve
from domain.errors import Refusal
from projections.fault_points import FaultError, arm


def parser() -> ArgumentParser:
    """Every command and its flags."""
    top = ArgumentParser(prog="taximeter", description="Usage metering and billing on one immutable log.")
    top.add_argument("--version", action="version", version=f"taximeter {__version__}")
    sub = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, *flags: settings.Setting) -> ArgumentParser:
        made = sub.add_parser(name, help=text, description=text)
        add_flags(made, flags)
        return made

    _add_running(command)
    _add_keeping(command)
    add_audit(sub)
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


Command = Callable[..., ArgumentParser]
"""Adds a command of a name, with a text and its flags."""


def _add_running(command: Command) -> None:
    """What runs the service, or does its work."""
    command(
        "serve",
        "serve the API, project and close cycles",
        *(settings.HOST, settings.PORT, settings.WORKERS, settings.ALLOW_ORIGIN, settings.LOG_FORMAT),
        *settings.OPERATING,
        *settings.DATABASE,
        settings.WAL_ARCHIVE,
        settings.SIGNING_KEY,
        settings.TENANT,
        *settings.RULES,
    )
    command("project", "fold the log into the read models until stopped", *settings.DATABASE, *settings.RULES)
    due = command("close-due", "close every cycle that is due, once", *settings.DATABASE, *settings.RULES)
    due.add_argument("--json", action="store_true", help="print what was done as JSON")


def _add_keeping(command: Command) -> None:
    """What keeps the database in order."""
    command("migrate", "bring the database to this program's schema", *settings.DATABASE)
    rebuild = command("rebuild", "make all read models anew from the log", *settings.DATABASE)
    rebuild.add_argument(
        "--prepare",
        action="store_true",
        help="only build this program's read models beside those in use, so that its next start has little left to do",
    )
    proving = (*settings.DATABASE, *settings.RULES)
    trying = command("simulate", "try other prices on real history", *proving, settings.TENANT)
    add_simulate_flags(trying)
    command("check-ledgers", "prove that every ledger of credits and money adds up", *proving)
    erased = command("erase-customer", "erase a customer's personal data for ever", settings.TENANT, *proving)
    erased.add_argument("customer", metavar="CUSTOMER", help="the customer's id")
    erased.add_argument("--yes", action="store_true", help="do not ask first")
    add_backup_flags(command("backup", "copy the database while it is in use", *settings.DATABASE))
    restored = (*settings.DATABASE, settings.WAL_ARCHIVE, settings.TENANT)
    add_restore_flags(command("restore", "make a new database from a backup", *restored))


COMMANDS = {
    "migrate": commands.migrate_database,
    "project": commands.project,
    "rebuild": commands.rebuild_read_models,
    "close-due": commands.close_what_is_due,
    "check-ledgers": commands.check_every_ledger,
    "erase-customer": commands.erase_personal_data,
    "backup": back_up,
    "restore": restore,
    "key": commands.create_api_key,
    "audit": run_audit,
    "simulate": commands.simulate,
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
        flags = parser().parse_args()
        arm(os.environ, flags.command)
        status = run(flags)
        sys.stdout.flush()
    except (SettingError, FaultError, EngineError, DatabaseError, Refusal) as error:
        print(f"taximeter: {error}", file=sys.stderr)
        status = 2
    except BrokenPipeError:
        # Whoever read the answer has seen enough, as `head` has. What is left of it must not be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
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
