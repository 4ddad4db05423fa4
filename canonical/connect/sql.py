"""
Reaches any SQL database: the drivers, sessions whose statements end in time, and the drivers' errors in our words.

PostgreSQL (asyncpg), MariaDB and MySQL (aiomysql), SQLite (aiosqlite), SQL Server (aioodbc), Oracle (oracledb). The reading
side uses it for sessions that cannot write, the delivering side for targets that are tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, SecretStr
from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from canonical.connect import oracle, sqlite, tls
from canonical.errors import IronbridgeError, MisconfiguredError, UnavailableError

_DRIVERS = {
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+aiomysql",
    "mariadb": "mariadb+aiomysql",
    "sqlite": "sqlite+aiosqlite",
    "mssql": "mssql+aioodbc",
    "oracle": "oracle+oracledb",
}
EXTRAS = {"mysql": "mariadb", "mariadb": "mariadb", "mssql": "sqlserver", "oracle": "oracle"}
"""The extra of the package that brings the driver for a kind of database."""

Meaning = tuple[str, type[IronbridgeError], str, str]
"""A pattern for a driver's code; the class, the sentence and the advice of the error that it means."""


def _readable(value: SecretStr) -> SecretStr:
    try:
        kind = make_url(value.get_secret_value()).get_backend_name()
    except (ArgumentError, ValueError):
        raise ValueError("is not a database URL such as postgresql://user:password@host/database") from None
    if kind not in _DRIVERS:
        raise ValueError(f"must begin with one of {', '.join(sorted(_DRIVERS))}")
    return value


SqlUrl = Annotated[SecretStr, AfterValidator(_readable)]
"""The URL of a SQL database. It may hold a password and is never shown; `canonical.connect.tls` explains its words for TLS."""


@dataclass(frozen=True, slots=True)
class SqlLogin:
    """
    Says how one database is reached, by at most so many connections at once. `where` names the part of ours in errors.

    With `read_only` its sessions cannot write (on SQL Server the login's rights are all that forbids it), and a transaction sees
    one moment where the database offers that.
    """

    where: str
    url: SecretStr
    connections: int
    statement_timeout: timedelta = timedelta(seconds=60)
    connect_timeout: timedelta = timedelta(seconds=10)
    read_only: bool = False

    @property
    def kind(self) -> str:
        """`postgresql`, `mysql`, `mariadb`, `sqlite`, `mssql` or `oracle`."""
        return self.address.get_backend_name()

    @property
    def user(self) -> str:
        return self.address.username or ""

    @property
    def patience(self) -> float:
        """Seconds after which a server has gone silent: it ends a slow statement itself before that."""
        return (self.connect_timeout + 2 * self.statement_timeout).total_seconds()

    @property
    def address(self) -> URL:
        """The URL with the driver that we reach its kind of database with."""
        url = make_url(self.url.get_secret_value())
        return url.set(drivername=_DRIVERS[url.get_backend_name()])

    def engine(self) -> AsyncEngine:
        """
        Make a pool of connections. Nothing connects yet.

        :raises MisconfiguredError: the URL, the driver or a certificate is wrong.
        """
        url, kind, encrypted = self.address, self.kind, None
        if kind == "sqlite" and not Path(url.database or "").is_file():
            raise MisconfiguredError(self.where, "its SQLite file does not exist", fix="check the path in `url`")
        # One snapshot a transaction, so that a record and the rows that belong to it are of one moment.
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        arguments = self._connect_args()
        if kind in ("postgresql", "mysql", "mariadb"):
            url, encrypted = tls.of_url(self.where, url)
            arguments["ssl"] = encrypted if encrypted or kind != "postgresql" else False
        elif kind == "oracle":
            url, arguments = oracle.reached(self.where, url, self.connect_timeout)
        try:
            engine = create_async_engine(
                url,
                hide_parameters=True,
                connect_args=arguments,
                pool_size=self.connections,
                max_overflow=0,
                pool_timeout=self.statement_timeout.total_seconds(),
                execution_options=options if kind == "postgresql" and self.read_only else {},
            )
        except (SQLAlchemyError, ImportError) as error:
            raise self._without_driver(error) from error

        def prepare(connection: Any, _record: object) -> None:
            self._prepare(connection, encrypted=encrypted is not None)

        event.listen(engine.sync_engine, "connect", prepare, insert=True)  # before SQLAlchemy asks anything
        if kind == "oracle":
            self._as_oracle_needs(engine.sync_engine)
        return engine

    def _without_driver(self, error: Exception) -> IronbridgeError:
        """The error of an engine that cannot be made: where its driver is missing, the fix names the extra that brings it."""
        if isinstance(error, ImportError) and (extra := EXTRAS.get(self.kind)):
            besides = " and Microsoft's ODBC driver" if self.kind == "mssql" else ""
            fix = f"pip install 'ironbridge[{extra}]'{besides}"
            return MisconfiguredError(self.where, f"the database driver for {self.kind} is missing", fix=fix)
        return translated(error, self.where)

    def _as_oracle_needs(self, engine: Engine) -> None:
        """Let each connection give numbers exactly, and each transaction of a reader begin as one that only reads."""

        def exactly(connection: Any, _record: object) -> None:
            number = import_module("oracledb").DB_TYPE_NUMBER
            connection.outputtypehandler = oracle.reading_exactly(connection.outputtypehandler, number)

        def begin(connection: Connection) -> None:
            connection.exec_driver_sql(oracle.READ_ONLY)

        event.listen(engine, "connect", exactly)  # behind SQLAlchemy's own, which it asks for all that is no number
        if self.read_only:
            event.listen(engine, "begin", begin)

    def _prepare(self, connection: Any, *, encrypted: bool) -> None:
        """Tell a new connection what connect arguments cannot."""
        kind, seconds = self.kind, self.statement_timeout.total_seconds()
        statements: list[str] = []
        if kind == "sqlite":
            statements = ["PRAGMA query_only = ON"] if self.read_only else []
        elif kind == "mssql":
            statements = [f"SET LOCK_TIMEOUT {round(seconds * 1000)}"]
        elif kind == "oracle":
            connection.driver_connection.call_timeout = round(seconds * 1000)
            statements = [oracle.ORDER]
        elif kind in ("mysql", "mariadb"):
            if encrypted and not connection.driver_connection._secure:
                # aiomysql goes on in the clear where the server, or somebody between, says that there is no TLS.
                raise ConnectionError("rejected SSL upgrade")
            maria = "MariaDB" in connection.driver_connection.get_server_info()
            limit = f"max_statement_time = {seconds}" if maria else f"max_execution_time = {round(seconds * 1000)}"
            statements = ["SET SESSION TRANSACTION READ ONLY"] if self.read_only else []
            statements.append(f"SET SESSION {limit}")
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()

    def _connect_args(self) -> dict[str, Any]:
        kind, statement, connect = self.kind, self.statement_timeout.total_seconds(), self.connect_timeout.total_seconds()
        if kind == "postgresql":
            session = {"default_transaction_read_only": "on"} if self.read_only else {}
            session |= {"statement_timeout": str(round(statement * 1000)), "application_name": "ironbridge"}
            return {"timeout": connect, "server_settings": session}
        if kind == "sqlite":
            return {"timeout": statement, "async_creator_fn": sqlite.connect}
        if kind == "mssql":

            async def end_in_time(connection: Any) -> None:
                connection.timeout = round(statement)

            return {"timeout": round(connect), "after_created": end_in_time}
        return {"connect_timeout": connect} | ({"conv": _decoders()} if self.read_only else {})


def _decoders() -> dict[int, Any] | None:
    """Say how aiomysql reads values: a zero date is no date, and BIT is a number."""
    try:
        types, usual = import_module("pymysql.constants.FIELD_TYPE"), import_module("pymysql.converters")
    except ImportError:
        return None  # it is an extra: SQLAlchemy says that it is missing

    def unless_zero(decode: Callable[[str], Any]) -> Callable[[str], Any]:
        # Another date that is none stays text, and the mapping says what is wrong with it.
        return lambda written: decode(written) if written.strip("0-:. ") else None

    decoders: dict[int, Any] = usual.decoders | {
        types.BIT: int.from_bytes,
        types.DATE: unless_zero(usual.convert_date),
        types.DATETIME: unless_zero(usual.convert_datetime),
        types.TIMESTAMP: unless_zero(usual.convert_datetime),
    }
    return decoders


def translated(
    error: BaseException, where: str, about: str = "", user: str = "", meanings: Sequence[Meaning] = ()
) -> IronbridgeError:
    """
    Turn a driver's error into one of ours; `about` names the tables and `user` the login, for the advice.

    `meanings` say what a code means for this side besides, before `FAULTS` do.
    """
    begin = f"{about}: " if about else ""
    if said := tls.complaint(error):
        return MisconfiguredError(where, begin + said[0], fix=said[1].format_map(tls.FIXES))
    for code in codes(error):
        for known, kind, what, fix in (*meanings, *FAULTS):
            if re.fullmatch(known, code):
                return kind(where, begin + what, fix=fix.format(user=user or "our login", table=about or "the tables"))
    # Not the driver's sentence: it may quote the source's data.
    return UnavailableError(
        where, f"{begin}failed with {type(error).__name__}", fix="look into the source's own log if it goes on"
    )


FAULTS: Sequence[Meaning] = [
    (
        r"28...|1045|1698|18456|ORA-01017|ORA-28000|ORA-01005|DPY-4001",
        MisconfiguredError,
        "refused our login",
        "check the user and the password in `url`",
    ),
    (
        r"3D000|1049|4060|DPY-600[13]|ORA-12514|ORA-12505|ORA-01045",
        MisconfiguredError,
        "there is no such database, or it is not ours to open",
        "check the database's name in `url`; of Oracle, a name behind the / is a SID, and a service is ?service_name=NAME",
    ),
    (
        r"DPY-3010|DPY-3015",
        MisconfiguredError,
        "its Oracle, or the way in which it keeps our password, is older than the driver takes",
        "ask for Oracle 12.1 or newer, and for a password of the user that was set there anew",
    ),
    (
        r"DPY-600[268]",  # Oracle's driver compares names alone, and no addresses
        MisconfiguredError,
        "its certificate is in another name",
        "use the name that the certificate has, or have one issued for this",
    ),
    (
        r"DPY-2018",
        MisconfiguredError,
        "the wallet is not there",
        "name a folder with an ewallet.pem, which this account may read, in `wallet_location`",
    ),
    (
        r"not a database|unable to open|IM002|ImportError|ModuleNotFoundError|NoSuchModuleError",
        MisconfiguredError,
        "the file or the database driver is missing",
        "check `url`; MariaDB needs `pip install ironbridge[mariadb]`, SQL Server `ironbridge[sqlserver]` and its ODBC "
        "driver, Oracle `ironbridge[oracle]`",
    ),
    (
        r"57014|1969|3024|HYT00|HYT01|55P03|1205|1222|TimeoutError|DPY-4024|ORA-01013|ORA-00054|ORA-01555|ORA-30006",
        UnavailableError,
        "took too long to answer",
        "raise `statement_timeout` or lower `page_size` if it goes on",
    ),
    (
        r"40...|1213|database is locked|ORA-00060|ORA-08177",
        UnavailableError,
        "another program stood in our way",
        "",
    ),
    (
        r"08...|57P..|53...|1040|1053|1927|2002|2003|2006|2013|2055|OSError|InterfaceError|ConnectionDoesNotExistError"
        r"|DPY-4011|DPY-1001|DPY-600[05]|ORA-12541|ORA-03113|ORA-03114|ORA-03135|ORA-0103[345]|ORA-01089|ORA-12516|ORA-00018"
        r"|InternalClientError",  # asyncpg, of a server that went in mid-sentence
        UnavailableError,
        "cannot be reached, or hung up",
        "check that the server runs, and the host and port in `url`",
    ),
]
"""
Each entry gives a driver's code its meaning, and the first that fits counts: SQLSTATEs (PostgreSQL, ODBC), the numbers of
MariaDB and SQL Server, Oracle's codes and its driver's, SQLite's words, Python's own errors.
"""


def codes(error: BaseException | None) -> Iterator[str]:
    """Everything in an error and its causes that could be a code, the innermost first, class names last."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
    for each in reversed(chain):
        first, *rest = (*each.args, "")
        if isinstance(first, int):
            yield str(first)
        elif code := getattr(first, "full_code", ""):
            yield str(code)  # Oracle's, or DPY-… of its driver
        elif re.fullmatch(r"[0-9A-Z]{5}", str(first)):
            yield from re.findall(r"\((\d{3,5})\)", str(rest[0]))  # ODBC: the server's own number says more
            yield str(first)
        yield str(getattr(each, "sqlstate", ""))
        yield from re.findall(
            r"no such table|no such column|database is locked|not a database|unable to open|readonly database|could not decode",
            str(first).replace("Could not", "could not"),
        )
    for each in reversed(chain):
        yield from (kind.__name__ for kind in type(each).__mro__[:-3])
