"""Oracle as it is reached by its own driver: what the driver is given, and what it says of a server that refuses it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import oracledb
import pytest
from oracledb.errors import _Error
from pydantic import SecretStr, ValidationError
from sqlalchemy import Column, make_url
from sqlalchemy.dialects.oracle import DATE, NUMBER, VARCHAR2
from sqlalchemy.exc import DBAPIError

from adapters.kit.sql_session import SqlSession, SqlSettings, translated
from canonical.connect import oracle
from canonical.errors import IronbridgeError, MisconfiguredError, UnavailableError
from ironbridge.scaffold.source import _kind
from tests.servers import Certified, certified


def given(url: str) -> dict[str, object]:
    return oracle.reached("ebs", make_url(f"oracle+oracledb://reader@{url}").set(password="hush"), timedelta(seconds=10))[1]


def test_the_driver_is_given_a_service_or_a_sid_and_the_words_for_tls(tmp_path: Path) -> None:
    plain = given("127.0.0.1/?service_name=EBS")
    assert plain == {
        "service_name": "EBS", "host": "127.0.0.1", "port": 1521, "program": "ironbridge", "tcp_connect_timeout": 10.0,
        "protocol": "tcp",
    }  # fmt: skip
    assert given("127.0.0.1:1621/PROD")["sid"] == "PROD"
    away = given("finance/?service_name=EBS")
    assert (away["protocol"], away["ssl_server_dn_match"]) == ("tcps", True), "on another machine a certificate is checked"
    unchecked = given("finance/?service_name=EBS&sslmode=require")
    assert isinstance(context := unchecked["ssl_context"], ssl.SSLContext)
    assert (context.verify_mode, unchecked["ssl_server_dn_match"]) == (ssl.CERT_NONE, False)
    wallet = given(f"127.0.0.1/?service_name=EBS&wallet_location={tmp_path}&wallet_password=hush")
    assert (wallet["protocol"], wallet["wallet_location"]) == ("tcps", str(tmp_path))


@pytest.mark.parametrize("url", ["finance", "finance/PROD?service_name=EBS", "finance/?service_name=EBS&retry=9"])
def test_a_url_that_names_no_database_of_oracle_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(MisconfiguredError) as raised:
        given(url)
    assert "hush" not in str(raised.value)


def test_a_schema_of_oracle_is_one_name() -> None:
    with pytest.raises(ValidationError, match="is one name on Oracle"):
        SqlSettings.model_validate({"url": "oracle://reader@host/EBS", "schema": "EBS.AP"})


# -- the driver meets servers that refuse it ----------------------------------------------------------------------------


@asynccontextmanager
async def serving(certificate: Certified | None = None, refusal: bytes = b"") -> AsyncIterator[int]:
    """A server that refuses whatever it is asked for, in the packet in which Oracle's listener does (TNS REFUSE)."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        data = b"\x00\x00" + len(refusal).to_bytes(2) + refusal
        writer.write((8 + len(data)).to_bytes(2) + b"\x00\x00\x04\x00\x00\x00" + data)
        writer.close()

    encrypted = None
    if certificate is not None:
        encrypted = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        encrypted.load_cert_chain(certificate.chain, certificate.key)
    server = await asyncio.start_server(refuse, "127.0.0.1", 0, ssl=encrypted)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def said(url: str) -> IronbridgeError:
    url = make_url(url).set(password="hush").render_as_string(hide_password=False)
    session = SqlSession("ebs", SqlSettings(url=SecretStr(url), connect_timeout=timedelta(seconds=5)))
    with pytest.raises(IronbridgeError) as raised:
        await session.open()
    await session.close()
    return raised.value


async def test_a_service_that_the_listener_does_not_know_is_told_with_how_to_name_one() -> None:
    refusal = b"(DESCRIPTION=(TMP=)(VSNNUM=0)(ERR=12514)(ERROR_STACK=(ERROR=(CODE=12514)(EMFI=4))))"
    async with serving(refusal=refusal) as port:
        error = await said(f"oracle://reader@127.0.0.1:{port}/?service_name=EBS")
    assert isinstance(error, MisconfiguredError)
    assert str(error) == (
        "ebs: there is no such database, or it is not ours to open. To do: check the database's name in `url`; of Oracle, "
        "a name behind the / is a SID, and a service is ?service_name=NAME"
    )


async def test_a_listener_that_is_away_is_waited_for() -> None:
    error = await said("oracle://reader@127.0.0.1:1/?service_name=EBS")
    assert isinstance(error, UnavailableError)
    assert error.what == "cannot be reached, or hung up"


async def test_a_certificate_is_checked_as_the_url_says(tmp_path: Path) -> None:
    for folder in ("ours", "other"):
        (tmp_path / folder).mkdir()
    ours, other = certified(tmp_path / "ours", name="localhost"), certified(tmp_path / "other", name="localhost")
    refusal = b"(DESCRIPTION=(ERR=12514))"
    async with serving(ours, refusal) as port:
        for words, what in (
            ("sslmode=verify-full", "its certificate is not of an authority that we trust"),
            (f"sslmode=verify-ca&sslrootcert={other.ca}", "its certificate is not of an authority that we trust"),
            (f"sslmode=verify-full&sslrootcert={ours.ca}", "there is no such database, or it is not ours to open"),
            ("sslmode=require", "there is no such database, or it is not ours to open"),
        ):
            assert (await said(f"oracle://reader@localhost:{port}/?service_name=EBS&{words}")).what == what
        by_address = f"oracle://reader@127.0.0.1:{port}/?service_name=EBS&sslrootcert={ours.ca}&sslmode="
        assert (await said(by_address + "verify-full")).what == "its certificate is in another name"
        assert (await said(by_address + "verify-ca")).what == "there is no such database, or it is not ours to open"
        no_wallet = f"oracle://reader@localhost:{port}/?service_name=EBS&wallet_location={tmp_path}"
        assert (await said(no_wallet)).what == "the wallet is not there"
    async with serving(refusal=refusal) as port:
        plain = await said(f"oracle://reader@127.0.0.1:{port}/?service_name=EBS&sslmode=verify-full")
        assert plain.what == "it does not speak TLS there"


@pytest.mark.parametrize(
    ("says", "kind", "what"),
    [
        ("ORA-01017: invalid username/password", MisconfiguredError, "refused our login"),
        ("ORA-00942: table or view does not exist", MisconfiguredError, "no such table, or we may not read it"),
        ('ORA-00904: "SHOE": invalid identifier', MisconfiguredError, "no such column"),
        ("ORA-00972: identifier is too long", MisconfiguredError, "a name is longer than the database takes"),
        ("DPY-3010: this database server version is not supported", MisconfiguredError, "older than the driver takes"),
        ("ORA-01555: snapshot too old", UnavailableError, "took too long"),
        ("DPY-4024: call timeout of 60000 ms exceeded", UnavailableError, "took too long"),
        ("DPY-4011: the database or network closed the connection", UnavailableError, "hung up"),
        ("ORA-20001: Mr Darby may not", UnavailableError, "failed with DBAPIError"),
    ],
)
def test_oracles_errors_become_ours(says: str, kind: type[Exception], what: str) -> None:
    error = oracledb.DatabaseError(_Error(message=says))
    ours = translated(DBAPIError("SELECT 1", {}, error), "ebs", "AP.AP_INVOICES_ALL", "reader")
    assert type(ours) is kind
    assert what in ours.what
    assert "Darby" not in str(ours)


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "exact"), [("7", 7), ("7.00", 7), ("1E+3", 1000), ("0.10", Decimal("0.1")), ("12345678901234567.89", None)]
)
def test_a_number_is_whole_or_a_decimal_whatever_its_column_declares(number: str, exact: int | Decimal | None) -> None:
    found = oracle.exact(Decimal(number))
    wanted = Decimal(number) if exact is None else exact
    assert (found, type(found)) == (wanted, type(wanted))


def test_numbers_alone_are_read_otherwise_than_sqlalchemy_does() -> None:
    asked: list[tuple[object, ...]] = []

    class Cursor:
        arraysize = 100

        def var(self, *given: object, **more: object) -> str:
            asked.append(given)
            return "a variable"

    reads = oracle.reading_exactly(lambda *_: "as usual", oracledb.DB_TYPE_NUMBER)
    assert reads(Cursor(), "AMOUNT", oracledb.DB_TYPE_NUMBER, 0, 0, -127) == "a variable"
    assert asked == [(Decimal, 255)]
    assert reads(Cursor(), "NAME", oracledb.DB_TYPE_VARCHAR, 9, 0, 0) == "as usual"


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (Column("invoice_id", NUMBER(15, 0)), int),
        (Column("vendor_id", NUMBER(), primary_key=True), int),
        (Column("invoice_amount", NUMBER()), Decimal),
        (Column("amount_paid", NUMBER(15, 2)), Decimal),
        (Column("last_update_date", DATE()), datetime),
        (Column("invoice_num", VARCHAR2(50)), str),
    ],
)
def test_a_new_adapter_declares_oracles_types(column: Column[object], kind: type) -> None:
    assert _kind(column) is kind
