"""
HAPI FHIR's own JPA server for R4, from Maven Central: its database is in memory, and it validates what it is sent by R4's
StructureDefinitions. In front of it stands a relay that wants a token and can misbehave like a sandbox.
"""

import json
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from starlette.requests import Request
from starlette.responses import Response

from flows.kit.sandbox import Sandbox, SandboxSettings
from ironbridge.kafka.distribution import cache_dir
from tests.servers import Absent

HERE = Path(__file__).parent
VERSION = "8.8.0"
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the server speaks plain HTTP; reading the system's takes a while
_PATIENCE = 180.0  # seconds; it starts in 20 where nothing else runs


def _jars() -> Path:
    jars = cache_dir() / f"hapi-fhir-jpa-{VERSION}"
    if jars.is_dir():
        return jars
    if not shutil.which("mvn"):
        raise Absent("HAPI FHIR (Maven, to fetch its jars with)")
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent, prefix="fetching-") as work:
        fetched = Path(work) / "jars"
        asked = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
        command = [*asked, "-DincludeScope=runtime", f"-DoutputDirectory={fetched}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            raise Absent(f"HAPI FHIR (its jars could not be fetched: {done.stdout.strip()[-200:]})")
        fetched.rename(jars)
    return jars


@contextmanager
def running_hapi() -> Iterator[str]:
    """The server's base URL. It ends when its standard input does, so it never outlives this process."""
    java, compiler = shutil.which("java"), shutil.which("javac")
    if not java or not compiler:
        raise Absent("a JDK (java and javac), to run HAPI FHIR with")
    flags = ["-Xmx1g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{_jars()}/*"]
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryDirectory() as work:
        command = [java, *flags, str(HERE / "HapiServer.java")]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT, cwd=work)
        try:
            yield f"http://127.0.0.1:{_port(process, said)}/fhir"
        finally:
            process.kill()
            process.communicate()


def _port(process: "subprocess.Popen[bytes]", said: "tempfile._TemporaryFileWrapper[str]") -> str:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        said.seek(0)
        text = said.read()
        if found := [line.removeprefix("PORT ") for line in text.splitlines() if line.startswith("PORT ")]:
            return found[0]
        time.sleep(0.3)
    said.seek(0)
    raise AssertionError(f"HAPI FHIR did not start: {said.read()[-2000:]}")


class Relay(Sandbox):
    """Hands requests on to a real server. It counts the resources that a transaction changed."""

    def __init__(self, base: str) -> None:
        super().__init__(SandboxSettings())
        self.base = base
        self.changes = 0
        self._http = httpx.AsyncClient(timeout=60, verify=NO_AUTHORITIES)

    async def __aexit__(self, *raised: object) -> None:
        await self._http.aclose()
        await super().__aexit__(*raised)

    async def answer(self, request: Request) -> Response:
        path = request.url.path
        if path == "/token":
            return await self.tokens.answer(request)
        if not path.endswith("/metadata") and not self.tokens.valid(request.headers.get("authorization", "")):
            return Response("no valid token", 401)
        content = await request.body()
        kept = {name: value for name, value in request.headers.items() if name in _HANDED_ON}
        url = httpx.URL(self.base + path.removeprefix("/fhir"), query=request.url.query.encode())
        answer = await self._http.request(request.method, url, headers=kept, content=content)
        if request.method == "POST" and answer.is_success:
            self.changes += len(json.loads(answer.content)["entry"])
        back = {name: value for name, value in answer.headers.items() if name in _HANDED_BACK}
        return Response(answer.content, answer.status_code, back)


_HANDED_ON = {"accept", "content-type", "prefer", "if-match"}
_HANDED_BACK = {"content-type", "etag", "location"}
