"""Listens on a port for the systems that send by themselves: with TLS, with so many connections at once, and no more."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import ssl
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from canonical.errors import MisconfiguredError, UnavailableError, named
from canonical.finding import Finding

log = logging.getLogger(__name__)

Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ListenerSettings(BaseModel):
    """
    These settings say where messages come in, and over which connections.

    `certificate` and `key` (PEM files) turn TLS on; with `client_authorities` a sender has to show a certificate that one of
    them has signed. A connection is ended after `idle` without a message, and after `deadline` within a half-sent one.
    `patience` is how long a message may take to be in Kafka.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(ge=0, le=65535)
    certificate: Path | None = None
    key: Path | None = None
    client_authorities: Path | None = None
    connections: int = Field(default=20, ge=1, le=1000)
    max_kilobytes: int = Field(default=1024, ge=1, le=65536)
    idle: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    deadline: timedelta = Field(default=timedelta(seconds=30), gt=timedelta(0))
    patience: timedelta = Field(default=timedelta(seconds=60), gt=timedelta(0))

    @model_validator(mode="after")
    def _whole_tls(self) -> ListenerSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("`certificate` and `key` go together")
        if self.client_authorities is not None and self.certificate is None:
            raise ValueError("`client_authorities` needs `certificate` and `key`: certificates of senders are asked for in TLS")
        return self

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def tls(self, where: str) -> ssl.SSLContext | None:
        """
        The context for TLS; None if it is off.

        :raises MisconfiguredError: a file cannot be read or is none of PEM.
        """
        if self.certificate is None or self.key is None:
            return None
        what: Path = self.certificate
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            made.load_cert_chain(self.certificate, self.key, password=_no_password)
            if self.client_authorities is not None:
                what = self.client_authorities
                made.load_verify_locations(what)
                made.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as error:
            raise MisconfiguredError(
                where, f"{what} cannot be used for TLS ({type(error).__name__})",
                fix="name PEM files that this account may read; a key without a passphrase, and the one of that certificate",
            ) from None  # fmt: skip
        return made


def _no_password() -> str:
    raise ValueError  # else OpenSSL would ask the terminal


class Listener:
    """
    A port and its connections; each has a conversation of its own, which `converse` leads and which ends with it.

    `name` is the adapter's, for errors and the log. `about` says of whom the messages are, for the advice of a check.
    """

    def __init__(self, name: str, settings: ListenerSettings, converse: Converse, about: str) -> None:
        self._name = name
        self._settings = settings
        self._converse = converse
        self._about = about
        self._server: asyncio.Server | None = None
        self._connections = set[asyncio.Task[None]]()

    @property
    def port(self) -> int:
        """The port on which it listens; 0 if it does not."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server else 0

    async def listen(self) -> None:
        """
        Begin to listen, unless it does.

        :raises UnavailableError: another program listens there, or the address is not this machine's.
        """
        s = self._settings
        if self._server is not None:
            return
        tls = s.tls(self._name)
        wait = {"ssl_handshake_timeout": s.deadline.total_seconds()} if tls else {}
        limit = s.max_kilobytes * 1024
        try:
            self._server = await asyncio.start_server(self._connected, s.host, s.port, ssl=tls, limit=limit, **wait)
        except OSError as error:
            raise self._unbound(error) from error
        log.info("%s: listens on %s, %s", self._name, s.address, "with TLS" if tls else "without TLS")

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def check(self, signed: str = "") -> list[Finding]:
        """
        Look whether the port can be listened on, and with which certificate. Changes nothing. Messages that are `signed` may
        come from any sender.
        """
        s = self._settings
        tls = s.tls(self._name)
        if self._server is None:
            try:
                server = await asyncio.start_server(_nobody, s.host, s.port, ssl=tls)
            except OSError as error:
                met = self._unbound(error)
                return [Finding(met.what, False, met.fix)]
            server.close()
            await server.wait_closed()
        senders = "any sender" if s.client_authorities is None else "senders with a certificate"
        how = (f"with TLS, from {senders}" if tls else "without TLS") + signed
        open_to_all = tls is None and not _here(s.host)
        fix = f"give `certificate` and `key`: messages about {self._about} cross the network in the clear" if open_to_all else ""
        return [Finding(f"{s.address} can be listened on, {how}", not open_to_all, fix)]

    def _unbound(self, error: OSError) -> UnavailableError:
        what = f"cannot listen on {self._settings.address} ({os.strerror(error.errno or 0).lower()})"
        fix = "stop the program that listens there (a running Ironbridge does), or set `host` and `port` to this machine's"
        return UnavailableError(self._name, what, fix=fix)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self._settings.connections:
            log.warning("%s: a connection is turned away: %d are open", self._name, len(self._connections))
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._disconnected)

    def _disconnected(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: a connection is ended: %s", self._name, named(error))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the messages of one connection, one after the other."""
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError) as error:  # TimeoutError and what TLS raises are OSErrors
            log.info("%s: a connection is ended: %s", self._name, _ending(error))
        finally:
            writer.close()


def _ending(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "it was silent for too long"
        case asyncio.IncompleteReadError():
            return "its sender went away within a message"
        case ConnectionAbortedError():
            return str(error)
    return f"its sender went away ({type(error).__name__})"


async def _nobody(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()  # a check takes nothing in


def _here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
