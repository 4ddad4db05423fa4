"""Databases over TLS: certificates are checked unless the URL says otherwise, and what does not hold comes with its fix."""

import asyncio
import ssl
import struct
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text

from adapters.kit.sql_session import SqlSession, SqlSettings
from canonical.connect import tls
from canonical.errors import MisconfiguredError
from ironbridge.store import Upkeep, open_store
from tests.servers import MariaDB, Postgres, certified
from tests.test_http import Talk, talking


async def encrypted(url: str) -> bool:
    """Open the state there and ask the database whether it is talked to by TLS."""
    store = await open_store(url, tables=Upkeep.LEAVE)
    try:
        async with store.read() as connection:
            asked = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            return bool((await connection.execute(asked)).scalar_one())
    finally:
        await store.close()


async def refused(url: str) -> MisconfiguredError:
    with pytest.raises(MisconfiguredError) as raised:
        await encrypted(url)
    return raised.value


def at(url: str, host: str) -> str:
    return make_url(url).set(host=host).render_as_string(hide_password=False)


async def test_the_state_is_kept_over_tls_with_its_certificate_checked(postgres: Postgres, postgres_url: str) -> None:
    assert await encrypted(f"{postgres_url}?sslmode=verify-full&sslrootcert={postgres.cafile}")
    assert await encrypted(f"{postgres_url}?ssl=verify-full&sslrootcert={postgres.cafile}")
    assert not await encrypted(f"{postgres_url}?sslmode=disable")


async def test_a_certificate_of_another_authority_is_refused(postgres_url: str, tmp_path: Path) -> None:
    other = certified(tmp_path)
    for words in (
        "sslmode=verify-full",
        f"sslmode=verify-full&sslrootcert={other.ca}",
        f"sslmode=verify-ca&sslrootcert={other.ca}",
    ):
        assert str(await refused(f"{postgres_url}?{words}")) == (
            "state: the database: its certificate is not of an authority that we trust. "
            "To do: name the authority's file: sslrootcert=FILE in its URL"
        )
    assert await encrypted(f"{postgres_url}?sslmode=require")  # encrypted, and says that it checks nothing


async def test_a_certificate_in_another_name_is_refused(postgres: Postgres, postgres_url: str) -> None:
    by_name = at(postgres_url, "localhost")
    assert str(await refused(f"{by_name}?sslmode=verify-full&sslrootcert={postgres.cafile}")) == (
        "state: the database: its certificate is in another name. "
        "To do: use the name that the certificate has, or have one issued for this"
    )
    assert await encrypted(f"{by_name}?sslmode=verify-ca&sslrootcert={postgres.cafile}")


@pytest.mark.parametrize("mode", ["prefer", "allow", "yes"])
async def test_a_mode_that_may_fall_back_to_the_clear_is_refused(postgres_url: str, mode: str) -> None:
    assert "use one of disable, require, verify-ca, verify-full" in str(await refused(f"{postgres_url}?sslmode={mode}"))


async def test_a_file_that_is_no_certificate_is_named(postgres_url: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    assert "empty.pem cannot be used" in str(
        await refused(f"{postgres_url}?sslrootcert={tmp_path}/empty.pem&sslmode=verify-full")
    )
    assert "our certificate /nowhere.pem with its key cannot be used (FileNotFoundError)" in str(
        await refused(f"{postgres_url}?sslmode=require&sslcert=/nowhere.pem")
    )


@pytest.mark.parametrize("host", ["db.example", "10.1.2.3", "postgres"])
def test_a_server_elsewhere_is_checked_without_a_word(host: str) -> None:
    url, context = tls.of_url("state", make_url(f"postgresql+asyncpg://u@{host}/d?application_name=x"))
    assert context is not None
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert dict(url.query) == {"application_name": "x"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", ""])
def test_a_server_on_this_machine_is_not(host: str) -> None:
    assert tls.of_url("state", make_url(f"postgresql+asyncpg://u@{host}/d"))[1] is None


@pytest.mark.parametrize("url", ["postgresql+asyncpg://u:p@db:hush/d", "hush"])
async def test_a_url_that_is_none_is_not_repeated(url: str) -> None:
    with pytest.raises(MisconfiguredError, match=r"`state.url` is not a database URL") as raised:
        await open_store(url)
    assert "hu" not in str(raised.value)
    assert raised.value.__suppress_context__


# -- legacy databases ----------------------------------------------------------------------------------------------


async def opened(url: str) -> str:
    session = SqlSession("liquidlogic", SqlSettings(url=SecretStr(url)))
    try:
        await session.open()
        async with session.connection() as connection:
            if session.settings.kind == "postgresql":
                return str(
                    (
                        await connection.execute(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
                    ).scalar()
                )
            return str((await connection.execute(text("SHOW SESSION STATUS LIKE 'Ssl_cipher'"))).one()[1])
    finally:
        await session.close()


async def test_a_legacy_postgresql_is_read_over_tls(postgres: Postgres, postgres_url: str, tmp_path: Path) -> None:
    assert await opened(f"{postgres_url}?sslmode=verify-full&sslrootcert={postgres.cafile}") == "True"
    with pytest.raises(MisconfiguredError, match="liquidlogic: its certificate is not of an authority that we trust"):
        await opened(f"{postgres_url}?sslmode=verify-full&sslrootcert={certified(tmp_path).ca}")


async def test_a_legacy_mariadb_is_read_over_tls(mariadb: MariaDB, mariadb_url: str, tmp_path: Path) -> None:
    assert (await opened(f"{mariadb_url}&sslmode=verify-full&sslrootcert={mariadb.cafile}")).startswith(
        ("TLS", "ECDHE")
    )
    assert await opened(mariadb_url) == ""
    with pytest.raises(MisconfiguredError, match="liquidlogic: its certificate is not of an authority that we trust"):
        await opened(f"{mariadb_url}&sslmode=verify-full&sslrootcert={certified(tmp_path).ca}")


async def postgresql_without_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(8)  # SSLRequest
    writer.write(b"N")
    await reader.read()


async def mysql_without_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A MySQL that says that it knows no TLS, as somebody in between would have it say, and agrees to everything."""
    able = 0x000FA68D  # CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH …, without CLIENT_SSL (0x800)
    greeting = struct.pack("<B7sI8sxHBHHB10s13s22s", 10, b"8.0.30\0", 1, b"a" * 8, able & 0xF7FF, 45, 2, able >> 16, 21,
                           b"", b"b" * 12 + b"\0", b"mysql_native_password\0")  # fmt: skip
    writer.write(len(greeting).to_bytes(3, "little") + b"\0" + greeting)
    while head := await reader.read(4):
        await reader.readexactly(int.from_bytes(head[:3], "little"))
        writer.write(b"\x07\0\0" + bytes([head[3] + 1]) + b"\0\0\0\x02\0\0\0")


@pytest.mark.parametrize(("kind", "talk"), [("postgresql", postgresql_without_tls), ("mysql", mysql_without_tls)])
async def test_a_server_that_speaks_no_tls_is_not_read_in_the_clear_without_a_word(kind: str, talk: Talk) -> None:
    async with talking(talk) as address:
        with pytest.raises(MisconfiguredError) as raised:
            await opened(f"{address.replace('http', kind)}/d?sslmode=verify-full".replace("//", "//us:hush@"))
    assert str(raised.value) == (
        "liquidlogic: it does not speak TLS. "
        "To do: turn TLS on in the server; on a network that you trust say: sslmode=disable in its URL"
    )
