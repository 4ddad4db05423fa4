"""What is deployed: the image, docker-compose.yml and the chart, held to the program that they name things of."""

import asyncio
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import asyncpg
import httpx
import pytest
import yaml

from canonical import Entity
from canonical.event import topic_of
from ironbridge.console import access
from ironbridge.kafka import inbox, journal, topics
from ironbridge.kafka.distribution import KAFKA_VERSION, cache_dir
from ironbridge.kafka.process import HOST, free_port
from ironbridge.operate import health
from ironbridge.operate.health import Health
from ironbridge.runtime import installed, systems
from ironbridge.runtime.bridge import Platform, chosen
from ironbridge.settings import (
    ConsoleSettings,
    KafkaSettings,
    RetentionSettings,
    Settings,
    StateSettings,
    TelemetrySettings,
    address_of,
    load,
)
from tests.fixtures import needed
from tests.servers import Absent, Postgres
from tests.servers import _postgres_binaries as postgres_binaries

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
DOOR = ROOT / "deploy" / "compose" / "door.py"
COMPOSE_SETTINGS = ROOT / "deploy" / "compose" / "ironbridge.toml"
CHART = ROOT / "deploy" / "helm" / "ironbridge"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
HELM = "helm.sh/helm/v3/cmd/helm@v3.22.0"
KUBERNETES = "1.33"

SECRET = "{}.settings: `{}` holds a secret, which a ConfigMap would show: name it below"

Json = dict[str, Any]


def loaded(file: Path, given: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings as a container would have them: this file, and nothing in the environment but what it is given."""
    for name in [name for name in os.environ if name.startswith("IRONBRIDGE_")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return load(file)


# -- the image ------------------------------------------------------------------------------------------------------


def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")


def test_the_image_gets_every_package_of_the_wheel_and_the_builder_every_file_that_is_copied():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    wanted = {*packages, "pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    lines = re.findall(r"^COPY (?!--from)(.+)$", dockerfile(), re.M)
    wanted |= {"deploy/image"}
    assert {name for line in lines for name in line.split()[:-1]} == wanted
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {line[1:].rstrip("/") for line in ignored if line.startswith("!")} == wanted
    chosen = re.search(r"^ARG LOCK=(.+)$", dockerfile(), re.M)
    assert chosen
    assert (ROOT / "deploy" / "image" / f"{chosen[1]}.lock").is_file()


def test_the_image_runs_as_nobody_in_particular_and_has_no_build_tools():
    *stages, last = re.split(r"^FROM ", dockerfile(), flags=re.M)[1:]
    assert last.split()[:3] == ["plain", "AS", "ironbridge"]
    plain = next(stage for stage in stages if stage.split("\n")[0].endswith("AS plain"))
    assert re.search(r"^USER 10001:10001$", plain, re.M)
    assert '\nENTRYPOINT ["ironbridge"]\n' in plain
    assert "apt-get" not in plain
    assert "pip" not in plain
    assert all(re.search(r":\S*\d", stage.split()[0]) or stage.split()[0] == "plain" for stage in stages)


# -- docker-compose.yml ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> Json:
    found: Json = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return found


def test_compose_names_only_what_is_there(compose: Json):
    services, volumes = compose["services"], compose["volumes"]
    for name, service in services.items():
        for mount in service.get("volumes", ()):
            source, target = mount.split(":")[:2]
            assert source in volumes or (ROOT / source).is_file(), f"{name} mounts {source}"
            assert target.startswith("/")
        for other, how in service.get("depends_on", {}).items():
            assert other in services
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for the health of {other}, which has none"
        if "network_mode" in service:
            assert service["network_mode"].removeprefix("service:") in service["depends_on"]
    used = {mount.split(":")[0] for service in services.values() for mount in service.get("volumes", ())}
    assert volumes.keys() == {each for each in used if not each.startswith(".")}


def test_compose_pins_every_image_and_opens_ports_to_this_machine_only(compose: Json):
    for name, service in compose["services"].items():
        tag = service["image"].rpartition(":")[2]
        assert re.search(r"\d+\.\d+", tag), f"{name} has the image {service['image']}"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert compose["services"]["payables"]["image"] == f"ironbridge:{version('ironbridge')}"


def test_compose_runs_every_adapter_and_flow_of_its_settings_each_by_itself(
    compose: Json, monkeypatch: pytest.MonkeyPatch
):
    """And what it starts besides are modules that exist."""
    bridges = {
        name: service
        for name, service in compose["services"].items()
        if "IRONBRIDGE_STATE__URL" in service.get("environment", {}) and name != "console"
    }
    for name, service in bridges.items():
        assert service["command"] == ["run", name]
        settings = loaded(COMPOSE_SETTINGS, in_clear(service["environment"]), monkeypatch)
        assert bridges.keys() == systems.adapters(settings).keys() | systems.targets(settings).keys()
        assert settings.kafka.broker == "none"
        assert (
            settings.state_url == "postgresql+asyncpg://state:state-demonstration@postgres:5432/state?sslmode=disable"
        )
    for service in compose["services"].values():
        match service.get("entrypoint"):
            case ["python", "-m", module]:
                assert importlib.util.find_spec(module)
            case ["python", script]:
                assert any(mount.split(":")[1] == script for mount in service["volumes"])


def test_the_console_of_compose_is_reached_through_its_door_from_this_machine(compose: Json):
    services = compose["services"]
    entrance, to = services["door"]["command"]
    host, _, inside = services["business-central-sandbox"]["ports"][0].rpartition(":")
    assert (host, inside) == ("127.0.0.1:8080", entrance)
    assert services["console"]["command"] == ["console", "--listen", f"127.0.0.1:{to}"]
    probes = services["console"]["environment"]["IRONBRIDGE_HTTP__PROBES"]
    assert f"{probes}/readyz" in services["console"]["healthcheck"]["test"][-1]
    places = {services[name]["network_mode"] for name in ("console", "door", "business_central")}
    assert places == {"service:business-central-sandbox"}, "one reaches the sandbox, the other the console"
    sandbox = services["business-central-sandbox"]["command"][1]
    ports = {entrance, to, sandbox, probes.rpartition(":")[2], "8080"}
    assert len(ports) == 5, "the flow's own health is on 8080 there"


async def test_the_door_carries_what_is_asked_and_what_is_answered():
    entrance, to, answer = free_port(), free_port(), b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000)

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    door = await asyncio.create_subprocess_exec(sys.executable, DOOR, str(entrance), str(to))
    try:
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{entrance}") as http:
            with pytest.raises(httpx.TransportError):  # it does not listen yet, or the console does not
                await http.get("/")
            server = await asyncio.start_server(answered, HOST, to)
            async with asyncio.timeout(20):
                while not (got := await asked(http)):
                    await asyncio.sleep(0.05)
            server.close()
    finally:
        door.terminate()
        await door.wait()
    assert got.content == bytes(300_000)


async def asked(http: httpx.AsyncClient) -> httpx.Response | None:
    try:
        return await http.get("/")
    except httpx.TransportError:
        return None


def in_clear(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with compose's `${NAME:-default}` as it is where no .env says otherwise."""
    return {name: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value) for name, value in environment.items()}


def test_what_compose_tells_the_flows_of_the_sandboxes_is_so(compose: Json, monkeypatch: pytest.MonkeyPatch):
    from flows.business_central.sandbox_company import BusinessCentralSandboxSettings
    from flows.dfe_csc.sandbox import DfeCscSandboxSettings

    environment = in_clear(compose["services"]["dfe_csc"]["environment"])
    settings = loaded(COMPOSE_SETTINGS, environment, monkeypatch)
    plans = {name: plan.settings for name, plan in systems.targets(settings).items()}
    dfe, central = DfeCscSandboxSettings(), BusinessCentralSandboxSettings()
    assert plans["dfe_csc"].supplier_key.get_secret_value() == dfe.supplier_key
    assert str(plans["business_central"].company) == central.company
    for name, sandbox, service in (
        ("dfe_csc", dfe, "dfe-sandbox"),
        ("business_central", central, "business-central-sandbox"),
    ):
        assert plans[name].client_id == sandbox.client_id
        assert plans[name].client_secret.get_secret_value() == sandbox.client_secret
        port = compose["services"][service]["command"][1]
        assert plans[name].token_url.port == int(port)
        assert f"127.0.0.1:{port}/" in compose["services"][service]["healthcheck"]["test"][-1]


def test_docker_compose_itself_takes_the_file():
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("there is no docker compose here; what the file names is checked without it")
    answer = subprocess.run([docker, "compose", "-f", COMPOSE, "config", "--quiet"], capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_the_collector_uses_all_that_it_defines_and_nothing_else():
    config = yaml.safe_load((ROOT / "deploy" / "compose" / "otel-collector.yaml").read_text("utf-8"))
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in config["service"]["pipelines"].values() for name in pipeline[kind]}
        assert used == config[kind].keys()


async def test_the_databases_of_compose_let_the_bridge_read_the_legacy_system_and_not_write_it(
    postgres: Postgres, tmp_path: Path
):
    psql = postgres_binaries() / "psql"
    passwords = {"STATE_PASSWORD": "s", "LIQUIDLOGIC_PASSWORD": "l", "READER_PASSWORD": "it's r"}
    place = ["-h", HOST, "-p", str(postgres.port), "-U", "ironbridge", "-d", "postgres"]
    file = ROOT / "deploy" / "compose" / "databases.sql"
    try:
        strictly = ["-v", "ON_ERROR_STOP=1", "--no-psqlrc", "-q"]
        subprocess.run([psql, *strictly, *place, "-f", file], env=os.environ | passwords, check=True)
        url = f"postgresql://liquidlogic:l@{HOST}:{postgres.port}/liquidlogic"
        made = make_world(tmp_path, url, "make", "--size", "liquidlogic=3")
        assert "3 children in liquidlogic" in made
        reader = await asyncpg.connect(host=HOST, port=postgres.port, user="liquidlogic_reader", database="liquidlogic")
        try:
            assert await reader.fetchval("SELECT count(*) FROM child_social.dim_person") >= 3
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.execute("DELETE FROM child_social.dim_person")
        finally:
            await reader.close()
    finally:
        gone = ["DROP DATABASE IF EXISTS state", "DROP DATABASE IF EXISTS liquidlogic"]
        gone += [f"DROP ROLE IF EXISTS {role}" for role in ("state", "liquidlogic", "liquidlogic_reader")]
        subprocess.run([psql, "--no-psqlrc", "-q", *place, *(w for s in gone for w in ("-c", s))], check=True)


def test_the_world_of_compose_is_made_once_and_can_be_worked_in(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'legacy.sqlite3'}"
    first = make_world(tmp_path, url, "make", "--size", "liquidlogic=5", "--size", "payables=10")
    assert first.splitlines()[1] == f"3 extracts of 10 invoices in {tmp_path / 'drop'}"
    assert json.loads((tmp_path / "chart.json").read_text("utf-8")).keys() == {"accounts", "dimensions"}
    again = make_world(tmp_path, url, "make", "--size", "liquidlogic=5", "--size", "payables=10")
    assert again.splitlines() == [first.splitlines()[0], f"{tmp_path / 'drop'} holds extracts already"]
    assert "erp-invoices-2025-06.csv is new" in make_world(tmp_path, url, "change", "1")


def make_world(folder: Path, url: str, *words: str) -> str:
    (folder / "drop").mkdir(exist_ok=True)
    told = {"IRONBRIDGE_ADAPTERS__LIQUIDLOGIC__URL": url, "WORLD_CHART": str(folder / "chart.json")}
    compose = ROOT / "deploy" / "compose"
    settings = (compose / "ironbridge.toml").read_text("utf-8").replace('"/drop"', f'"{folder / "drop"}"')
    (folder / "ironbridge.toml").write_text(settings, "utf-8")
    command = [sys.executable, compose / "world.py", "--file", folder / "ironbridge.toml", *words]
    done = subprocess.run(command, env=os.environ | told, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- the chart ------------------------------------------------------------------------------------------------------


def helm_program() -> str:
    """Helm: the one on the PATH, or where all must be tested one that Go builds, once, into the user's cache."""
    if there := shutil.which("helm"):
        return there
    built = cache_dir() / HELM.rpartition("@")[2] / "helm"
    if not built.exists():
        if os.environ.get("CI") != "true":
            raise Absent("helm, to check the chart with")
        go = shutil.which("go")
        if go is None:
            raise Absent("helm, and Go to build it")
        built.parent.mkdir(parents=True, exist_ok=True)
        # Helm's own builds say which Kubernetes they are of; without that it takes the chart for too new.
        major, minor = KUBERNETES.split(".")
        told = f"-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor={major}"
        told += f" -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={minor}"
        settings = {"GOBIN": str(built.parent), "CGO_ENABLED": "0", "GOFLAGS": ""}
        subprocess.run(
            [go, "install", f"-ldflags=-s -w {told}", HELM],
            env=os.environ | settings, cwd=built.parent, check=True, timeout=600,
        )  # fmt: skip
    return str(built)


@pytest.fixture(scope="module")
def helm() -> str:
    with needed():
        return helm_program()


def run_helm(helm: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *words], capture_output=True, text=True, timeout=60)


def rendered(helm: str, *more: str | Path, chart: Path = CHART) -> list[Json]:
    done = run_helm(helm, "template", "bridge", chart, "--kube-version", KUBERNETES, "--namespace", "council", *more)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda file: file.stem)
def example(request: pytest.FixtureRequest, helm: str) -> tuple[Json, list[Json]]:
    """An example's values, and everything that the chart makes of it."""
    return yaml.safe_load(request.param.read_text("utf-8")), rendered(helm, "-f", request.param)


def of_kind(manifests: list[Json], kind: str) -> dict[str, Json]:
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}


def container(deployment: Json) -> Json:
    found: Json = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def test_the_chart_has_the_programs_version_and_no_fault_that_helm_lint_finds(helm: str):
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["appVersion"] == version("ironbridge")
    for values in ([], *(["-f", file] for file in EXAMPLES)):
        done = run_helm(helm, "lint", "--strict", "--kube-version", KUBERNETES, CHART, *values)
        assert done.returncode == 0, done.stdout


def test_kubernetes_would_take_every_manifest(example: tuple[Json, list[Json]]):
    with needed():
        if importlib.util.find_spec("kubernetes_validate") is None:
            raise Absent("Kubernetes' schemas (pip install kubernetes-validate)")
    import kubernetes_validate

    _, manifests = example
    ours = [each for each in manifests if "strimzi" not in each["apiVersion"]]
    assert len(ours) >= 16
    for each in ours:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_every_part_has_settings_that_load_and_secrets_for_all_that_they_lack(
    example: tuple[Json, list[Json]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Exactly one system a part, so that no part needs a secret of another."""
    values, manifests = example
    parts = values["adapters"] | values["targets"]
    deployments = of_kind(manifests, "Deployment")
    assert len(deployments) == len(parts)
    for name, deployment in deployments.items():
        file = tmp_path / f"{name}.toml"
        file.write_text(of_kind(manifests, "ConfigMap")[name]["data"]["ironbridge.toml"], "utf-8")
        run, part, option, where = container(deployment)["args"]
        assert (run, option, where) == ("run", "--file", "/etc/ironbridge/ironbridge.toml")
        secrets = {each["name"]: secret_value(each) for each in container(deployment)["env"]}
        settings = loaded(file, secrets, monkeypatch)
        assert [*systems.adapters(settings), *systems.targets(settings)] == [part]
        given = (settings.adapters | settings.targets)[part]
        assert {k: v for k, v in given.items() if k not in parts[part].get("secrets", {})} == parts[part]["settings"]
        kafka_as_given = settings.kafka.model_dump(include=set(values["kafka"]), exclude_unset=True)
        assert kafka_as_given == values["kafka"]
        assert settings.kafka.broker == "none"
        assert settings.state.url is not None
        assert settings.kafka.security_protocol == "SASL_SSL"


def test_every_part_knows_which_parts_should_run(
    example: tuple[Json, list[Json]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Those that the release runs, and no others: each would be told of for ever."""
    _, manifests = example
    told, run = set(), set()
    for name, deployment in of_kind(manifests, "Deployment").items():
        settings = settings_of(manifests, name, tmp_path, monkeypatch)
        told.add(systems.expected(settings))
        if deployment["spec"]["replicas"]:
            run |= {*map(systems.adapter_part, systems.adapters(settings)), *map(systems.flow_part, systems.flows(settings))}
    (parts,) = told
    assert {*parts} == run
    assert len(parts) == len(run) > 0


def settings_of(manifests: list[Json], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of one Deployment, with something for each secret."""
    file = tmp_path / f"{name}.toml"
    file.write_text(of_kind(manifests, "ConfigMap")[name]["data"]["ironbridge.toml"], "utf-8")
    env = container(of_kind(manifests, "Deployment")[name])["env"]
    return loaded(file, {each["name"]: secret_value(each) for each in env if "valueFrom" in each}, monkeypatch)


def test_kubernetes_asks_the_program_itself_how_it_is(
    example: tuple[Json, list[Json]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """And restarts nothing because it is late, which a restart seldom mends."""
    _, manifests = example
    for name, deployment in of_kind(manifests, "Deployment").items():
        part, settings = container(deployment), settings_of(manifests, name, tmp_path, monkeypatch)
        assert settings.http.listen is None
        assert part["ports"] == [{"name": "probes", "containerPort": address_of(settings.http.probes or "")[1]}]
        served = {route.path for route in health.routes(Health(Platform(settings, None)))}  # type: ignore[arg-type]
        asked = {kind: part[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert asked["liveness"] == asked["startup"] == {"path": "/healthz", "port": "probes"}
        assert asked["readiness"] == {"path": "/readyz", "port": "probes"}
        assert {each["path"] for each in asked.values()} < served
        assert settings.console.serve is False, "nobody could sign in"


def secret_value(entry: Json) -> str:
    assert entry["valueFrom"]["secretKeyRef"].keys() == {"name", "key"}
    return "postgresql+asyncpg://somebody:secret@db/name" if entry["name"].endswith("URL") else "secret"


def test_a_target_with_flows_of_its_own_runs_all_of_them(
    helm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    values = yaml.safe_load((CHART / "examples" / "strimzi.yaml").read_text("utf-8"))
    central = values["targets"]["business_central"]
    says = {name: central["settings"].pop(name) for name in ("default_account", "dimensions", "accounts", "tax_codes")}
    central["flows"] = {"purchases": says, "more": {"within": 60}}
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values), "utf-8")
    manifests = rendered(helm, "-f", file)
    name = next(name for name in of_kind(manifests, "ConfigMap") if name.endswith("business-central"))
    settings_file = tmp_path / "ironbridge.toml"
    settings_file.write_text(of_kind(manifests, "ConfigMap")[name]["data"]["ironbridge.toml"], "utf-8")
    part = container(of_kind(manifests, "Deployment")[name])
    settings = loaded(settings_file, {each["name"]: secret_value(each) for each in part["env"]}, monkeypatch)
    assert [*chosen(settings, [part["args"][1]])[1]] == ["more", "purchases"]
    assert systems.flows(settings)["purchases"].settings.default_account == "8000"
    assert {"flow/more", "flow/purchases"} < {*systems.expected(settings)}
    assert "flow/business_central" not in systems.expected(settings)


def test_an_adapter_is_one_process_and_a_flow_as_many_as_wanted(example: tuple[Json, list[Json]]):
    values, manifests = example
    for name, deployment in of_kind(manifests, "Deployment").items():
        part, spec = container(deployment)["args"][1], deployment["spec"]
        if part in values["adapters"]:
            assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
            assert name not in of_kind(manifests, "PodDisruptionBudget")
        else:
            assert spec["replicas"] == values["targets"][part]["replicas"]
            assert of_kind(manifests, "PodDisruptionBudget")[name]["spec"]["maxUnavailable"] == 1


def test_what_is_given_as_nothing_is_nothing(helm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A flow that is kept back has no worker, and a target without ports reaches none; what is not given has a default."""
    file = tmp_path / "values.yaml"
    values = yaml.safe_load(EXAMPLES[0].read_text("utf-8"))
    values["targets"]["dfe_csc"] |= {"replicas": 0, "egressPorts": []}
    values["expectedElsewhere"] = ["flow/elsewhere"]
    del values["targets"]["business_central"]["replicas"]
    file.write_text(json.dumps(values), "utf-8")
    manifests = rendered(helm, "-f", file)
    wanted = {name: each["spec"]["replicas"] for name, each in of_kind(manifests, "Deployment").items()}
    assert (wanted["bridge-ironbridge-dfe-csc"], wanted["bridge-ironbridge-business-central"]) == (0, 1)
    parts = systems.expected(settings_of(manifests, "bridge-ironbridge-payables", tmp_path, monkeypatch))
    assert parts == ("adapter/liquidlogic", "adapter/payables", "flow/business_central", "flow/elsewhere")
    policies = of_kind(manifests, "NetworkPolicy")
    ports = {name: {each["port"] for rule in policies[name]["spec"]["egress"] for each in rule["ports"]} for name in wanted}
    assert 443 not in ports["bridge-ironbridge-dfe-csc"]
    assert 443 in ports["bridge-ironbridge-business-central"]


def test_a_hook_brings_the_states_tables_up_to_date_before_any_pod_of_the_release_starts(
    example: tuple[Json, list[Json]], tmp_path: Path
):
    """With the state's secret and no other; and the command that it runs does it."""
    _, manifests = example
    [job] = of_kind(manifests, "Job").values()
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    part = container(job)
    deployment = next(iter(of_kind(manifests, "Deployment").values()))
    assert part["image"] == container(deployment)["image"]
    given = [each for each in part["env"] if each["name"].startswith("IRONBRIDGE_")]
    assert [each["name"] for each in given] == ["IRONBRIDGE_STATE__URL"]
    policy = of_kind(manifests, "NetworkPolicy")[job["metadata"]["name"]]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    first, then = (int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) for each in (policy, job))
    assert first < then
    there = {each["name"] for each in job["spec"]["template"]["spec"]["volumes"]}
    assert {each["name"] for each in part["volumeMounts"]} <= there
    state = {"IRONBRIDGE_STATE__URL": f"sqlite+aiosqlite:///{tmp_path / 'state.sqlite3'}"}
    done = subprocess.run(
        [sys.executable, "-m", "ironbridge", *part["args"]], env=os.environ | state | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"The state's tables are ready for this release \(schema \d{4}\)\.\n", done.stdout)


def test_pods_can_do_nothing_that_they_need_not(example: tuple[Json, list[Json]]):
    values, manifests = example
    kafka_port = int(values["kafka"]["bootstrap_servers"].rpartition(":")[2])
    for name, deployment in (of_kind(manifests, "Deployment") | of_kind(manifests, "Job")).items():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for each in pod["containers"]:
            assert each["securityContext"]["readOnlyRootFilesystem"] is True
            assert each["securityContext"]["allowPrivilegeEscalation"] is False
            assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert each["resources"]["limits"]["memory"]
        policy = of_kind(manifests, "NetworkPolicy")[name]["spec"]
        assert policy["ingress"] == []
        assert policy["podSelector"] == deployment["spec"].get("selector", policy["podSelector"])
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()
        ports = {each["port"] for rule in policy["egress"] for each in rule["ports"]}
        assert {53, 5432} <= ports
        assert (kafka_port in ports) == (deployment["kind"] != "Job"), "the hook needs the state alone"


CONSOLE = {
    "console": {
        "serve": True, "public_url": "https://ironbridge.council.example", "client_id": "from-entra",
        "issuer": "https://login.microsoftonline.com/council/v2.0",
    },
    "secrets": {
        "console.client_secret": {"existingSecret": "entra", "key": "secret"},
        "console.session_secret": {"existingSecret": "ironbridge-console", "key": "session"},
    },
    "networkPolicy": {"httpFrom": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]},
}  # fmt: skip


@pytest.fixture
def with_console(helm: str, tmp_path: Path) -> list[Json]:
    more = tmp_path / "console.yaml"
    more.write_text(json.dumps(CONSOLE), "utf-8")
    return rendered(helm, "-f", EXAMPLES[0], "-f", more)


def test_the_console_is_a_part_of_its_own_that_reaches_all_systems_and_people_sign_in_to(
    with_console: list[Json], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    name, secret = "bridge-ironbridge-console", {"CONSOLE__CLIENT_SECRET", "CONSOLE__SESSION_SECRET"}
    deployments, services = of_kind(with_console, "Deployment"), of_kind(with_console, "Service")
    part = container(deployments[name])
    file = tmp_path / "ironbridge.toml"
    file.write_text(of_kind(with_console, "ConfigMap")[name]["data"]["ironbridge.toml"], "utf-8")
    settings = loaded(file, {each["name"]: secret_value(each) * 8 for each in part["env"]}, monkeypatch)
    access.check(settings)
    assert part["args"] == ["console", "--file", "/etc/ironbridge/ironbridge.toml"]
    others = {args[1] for each in deployments.values() if (args := container(each)["args"])[0] == "run"}
    assert {*systems.adapters(settings), *systems.targets(settings)} == others
    assert {"name": "drop-payables", "mountPath": "/drop", "readOnly": True} in part["volumeMounts"]
    [port] = services[name]["spec"]["ports"]
    reached = {each["name"]: each["containerPort"] for each in part["ports"]}
    assert (port["targetPort"], settings.http.listen) == ("http", f"0.0.0.0:{reached['http']}")
    assert (part["livenessProbe"]["httpGet"]["port"], settings.http.probes) == ("probes", f"0.0.0.0:{reached['probes']}")
    assert services[name]["spec"]["selector"] == deployments[name]["spec"]["selector"]["matchLabels"]
    rules = of_kind(with_console, "NetworkPolicy")[name]["spec"]
    assert {443, 5432} < {each["port"] for rule in rules["egress"] for each in rule["ports"]}
    assert rules["ingress"][0]["from"] == CONSOLE["networkPolicy"]["httpFrom"]
    for each, deployment in deployments.items():
        given = {entry["name"].removeprefix("IRONBRIDGE_") for entry in container(deployment)["env"]}
        assert (secret & given) == (secret if each == name else set()), "the sign-in's secrets are the console's alone"


def test_kubernetes_would_take_the_console(with_console: list[Json]):
    with needed():
        if importlib.util.find_spec("kubernetes_validate") is None:
            raise Absent("Kubernetes' schemas (pip install kubernetes-validate)")
    import kubernetes_validate

    for each in with_console:
        if "strimzi" not in each["apiVersion"]:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_the_drop_folder_is_mounted_to_be_read_and_outlives_the_release(example: tuple[Json, list[Json]]):
    _, manifests = example
    payables = of_kind(manifests, "Deployment")["bridge-ironbridge-payables"]
    assert {"name": "drop", "mountPath": "/drop", "readOnly": True} in container(payables)["volumeMounts"]
    claim = of_kind(manifests, "PersistentVolumeClaim")["bridge-ironbridge-payables-drop"]
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def entities() -> Iterator[type[Entity]]:
    """Every entity of the canonical language."""
    waiting = [Entity]
    while waiting:
        waiting += (found := waiting.pop().__subclasses__())
        yield from (each for each in found if "type_name" in vars(each) and each.__module__.startswith("canonical."))


@pytest.mark.parametrize("kafka_values", [{}, {"topic_prefix": "council.live", "partitions": 12, "replication": 5}])
def test_strimzis_topics_are_those_that_ironbridge_would_create(helm: str, kafka_values: Json, tmp_path: Path):
    more = tmp_path / "more.yaml"
    more.write_text(json.dumps({"kafka": kafka_values, "strimzi": {"moreEntities": ["blue-badge", "person"]}}), "utf-8")
    example = CHART / "examples" / "strimzi.yaml"
    manifests = rendered(helm, "-f", example, "-f", more)
    example_values = yaml.safe_load(example.read_text("utf-8"))["kafka"]
    settings = KafkaSettings.model_validate(example_values | kafka_values | {"password": "from a secret"})
    wanted = topics.topics(settings, entities())
    wanted[topic_of("blue-badge", settings.topic_prefix)] = wanted[topic_of("person", settings.topic_prefix)]
    made = of_kind(manifests, "KafkaTopic")
    assert {topic["spec"]["topicName"]: topic["spec"]["partitions"] for topic in made.values()} == {
        name: partitions for name, (partitions, _) in wanted.items()
    }
    for name, topic in made.items():
        assert name == topic["spec"]["topicName"]
        assert topic["spec"]["replicas"] == settings.replication
        assert {key: str(value) for key, value in topic["spec"]["config"].items()} == wanted[name][1]
        assert topic["metadata"]["labels"]["strimzi.io/cluster"] == "council"
        assert topic["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_charts_schema_knows_the_programs_settings_and_no_others():
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    properties = schema["properties"]
    # Not what holds a secret, nor what is only of a broker beside the program.
    assert properties["kafka"]["properties"].keys() == KafkaSettings.model_fields.keys() - {"password", "port"}
    assert properties["telemetry"]["properties"].keys() == TelemetrySettings.model_fields.keys()
    assert properties["retention"]["properties"].keys() == RetentionSettings.model_fields.keys()
    assert (
        properties["console"]["properties"].keys()
        == ConsoleSettings.model_fields.keys() - {"client_secret", "session_secret"}
    )
    for name in ("security_protocol", "sasl_mechanism"):
        taken = get_args(KafkaSettings.model_fields[name].annotation)
        assert properties["kafka"]["properties"][name]["enum"] == list(taken)
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    assert properties.keys() - {"global"} == values.keys()
    assert values["secrets"].keys() == {"state.url", "kafka.password"}
    assert "url" in StateSettings.model_fields


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("kafka.bootstrap=x:1", "bootstrap"),
        ("kafka.bootstrap_servers=nowhere", "bootstrap_servers"),
        ("kafka.sasl_mechanism=GSSAPI", "sasl_mechanism"),
        ("adapters.payables.replicas=2", "replicas"),
        ("image.tag=latest", "tag"),
        ("targets.payables.settings.x=1", "payables is an adapter and a target"),
        ("kafka.bootstrap_servers=", "set kafka.bootstrap_servers"),
        ("console.serve=true", "set console.issuer"),
        ("console.client_secret=x", "client_secret"),
        ("adapters.liquidlogic.settings.url=mssql://reader:word@hdm/HDM", SECRET.format("adapters.liquidlogic", "url")),
        ("targets.dfe_csc.settings.client_secret=x", SECRET.format("targets.dfe_csc", "client_secret")),
        ("targets.dfe_csc.settings.supplier_key=x", SECRET.format("targets.dfe_csc", "supplier_key")),
        ("targets.dfe_csc.settings.proxy.password=x", SECRET.format("targets.dfe_csc", "proxy.password")),
        ("telemetry.endpoint=http://user:word@collector:4318", "telemetry: `endpoint` holds a secret"),
        ("expectedElsewhere={payables}", "/expectedElsewhere/0"),
        ("adapters.payables.secrets.url.file=drop", "/adapters/payables/secrets/url"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_installed(helm: str, wrong: str, said: str):
    done = run_helm(
        helm, "template", "bridge", CHART, "--kube-version", KUBERNETES, "-f", EXAMPLES[0], "--set", wrong
    )  # fmt: skip
    assert done.returncode != 0
    assert said in done.stderr


def test_every_setting_that_the_program_keeps_secret_is_refused_among_the_charts_settings(helm: str, tmp_path: Path):
    """The chart cannot know the programs of others; of ours it knows every one, and a URL with a password in any setting."""
    more = tmp_path / "more.yaml"
    offered = [("adapters", installed.adapters()), ("targets", installed.targets())]
    secret = {
        (kind, name, setting)
        for kind, found in offered
        for name, system in found.items()
        for setting, about in system.settings.model_fields.items()
        if "SecretStr" in str(about.annotation)
    }
    assert {setting for *_, setting in secret} >= {"url", "client_secret", "supplier_key"}
    for kind, name, setting in secret:
        more.write_text(json.dumps({kind: {name: {"settings": {setting: "postgresql://somebody:secret@db/name"}}}}), "utf-8")
        done = run_helm(helm, "template", "bridge", CHART, "--kube-version", KUBERNETES, "-f", EXAMPLES[0], "-f", more)
        assert SECRET.format(f"{kind}.{name}", setting) in done.stderr


def test_a_secret_may_come_from_a_file_that_a_driver_mounts(helm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The hook has the state's, the part its own, and the program reads them."""
    file = tmp_path / "values.yaml"
    values = yaml.safe_load(EXAMPLES[0].read_text("utf-8"))
    (tmp_path / "url").write_text("postgresql+asyncpg://somebody:secret@db/name\n", "utf-8")
    (tmp_path / "key").write_text("a key\n", "utf-8")
    values["secrets"] = {"state.url": {"file": str(tmp_path / "url")}}
    values["targets"]["dfe_csc"]["secrets"]["supplier_key"] = {"file": str(tmp_path / "key")}
    file.write_text(json.dumps(values), "utf-8")
    manifests = rendered(helm, "-f", file)
    [job] = of_kind(manifests, "Job").values()
    assert container(job)["env"] == [{"name": "IRONBRIDGE_STATE__URL_FILE", "value": str(tmp_path / "url")}]
    name = "bridge-ironbridge-dfe-csc"
    settings_file = tmp_path / "ironbridge.toml"
    settings_file.write_text(of_kind(manifests, "ConfigMap")[name]["data"]["ironbridge.toml"], "utf-8")
    given = {
        each["name"]: each["value"] if "value" in each else secret_value(each)
        for each in container(of_kind(manifests, "Deployment")[name])["env"]
    }
    settings = loaded(settings_file, given, monkeypatch)
    assert settings.state_url == "postgresql+asyncpg://somebody:secret@db/name"
    assert systems.targets(settings)["dfe_csc"].settings.supplier_key.get_secret_value() == "a key"


def test_values_become_toml_whatever_they_are(helm: str, tmp_path: Path):
    settings = {
        "words": 'quoted "and" \\ <tagged> & £', "whole": 6000000, "part": 0.5, "yes": True, "none": [],
        "list": ["a", 1], "table": {"*": "x", "two words": {"deep": [1, 2]}},
    }  # fmt: skip
    more = tmp_path / "more.yaml"
    more.write_text(json.dumps({"adapters": {"payables": {"settings": settings}}}), "utf-8")
    manifests = rendered(helm, "-f", EXAMPLES[0], "-f", more)
    text = of_kind(manifests, "ConfigMap")["bridge-ironbridge-payables"]["data"]["ironbridge.toml"]
    read = tomllib.loads(text)["adapters"]["payables"]
    assert {key: read[key] for key in settings} == settings
    assert isinstance(read["whole"], int)


def test_the_notes_tell_how_to_look_at_every_part(helm: str, tmp_path: Path):
    # Only an installation prints the notes, and that takes a cluster; so they are put where a manifest can be rendered.
    chart = shutil.copytree(CHART, tmp_path / "chart")
    notes = (chart / "templates" / "NOTES.txt").read_text("utf-8")
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\ndata:\n  notes: |\n    "
    within = '{{- define "notes" }}' + notes + '{{ end }}{{ include "notes" . | nindent 4 }}'
    (chart / "templates" / "notes.yaml").write_text(head + within, "utf-8")
    said = of_kind(rendered(helm, "-f", EXAMPLES[0], chart=chart), "ConfigMap")["notes"]["data"]["notes"]
    for part in ("liquidlogic", "payables", "dfe-csc", "business-central"):
        assert f"exec deploy/bridge-ironbridge-{part} -- ironbridge check" in said
    assert "the volume claim bridge-ironbridge-payables-drop" in said


# -- the page -------------------------------------------------------------------------------------------------------


def test_the_operators_page_names_what_kafka_and_the_state_are_really_asked_for():
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    for key, value in topics._TOPIC.items():
        assert f"`{key}={value}`" in page
    for entity in entities():
        assert f"`canonical.{entity.type_name}`" in page
    assert f"`{journal.transactional_id(KafkaSettings(), '<adapter>')}`" in page
    assert f"`{inbox.group_of(KafkaSettings(), '<flow>')}`" in page
