"""
Settings: `ironbridge.toml`, over which the environment goes (`IRONBRIDGE_KAFKA__BOOTSTRAP_SERVERS=…`); secrets belong there.

All of it is checked before anything connects. A word that means nothing is an error that names the nearest one that does.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from canonical.entity import Sensitivity
from canonical.errors import MisconfiguredError

FILE = "ironbridge.toml"
_file: ContextVar[Path | None] = ContextVar("the settings file that is being read", default=None)


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KafkaSettings(Section):
    """
    These settings say where Kafka is. `broker` starts one beside the program: `embedded` (a development broker, from
    PyPI), `apache` (real Apache Kafka from its jars) or `none` (`bootstrap_servers` names one that runs). With SSL its
    certificate is checked, against `ssl_cafile` or the system's authorities; `ssl_certfile` and `ssl_keyfile` are ours,
    where the broker asks for one.
    """

    broker: Literal["embedded", "apache", "none"] = "embedded"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    bootstrap_servers: str = ""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "PLAIN"
    username: str | None = None
    password: SecretStr | None = None
    oauth_token_file: str | None = None
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    topic_prefix: Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]*$")] = "canonical"
    partitions: Annotated[int, Field(ge=1, le=1000)] = 6
    replication: Annotated[int, Field(ge=1, le=9)] = 1
    compression: Literal["zstd", "lz4", "gzip", "snappy", "none"] = "zstd"

    @model_validator(mode="after")
    def _can_sign_in(self) -> KafkaSettings:
        if not self.security_protocol.startswith("SASL"):
            return self
        if self.sasl_mechanism == "OAUTHBEARER" and not self.oauth_token_file:
            raise ValueError("OAUTHBEARER needs oauth_token_file")
        if self.sasl_mechanism != "OAUTHBEARER" and not (self.username and self.password):
            raise ValueError(f"{self.sasl_mechanism} needs username, and the password in IRONBRIDGE_KAFKA__PASSWORD")
        if self.security_protocol == "SASL_PLAINTEXT" and not self.sasl_mechanism.startswith("SCRAM"):
            raise ValueError(f"{self.sasl_mechanism} over SASL_PLAINTEXT shows the secret to the network: use SASL_SSL")
        return self


class StateSettings(Section):
    """
    These settings say where the state is: `sqlite+aiosqlite:///path` (embedded) or
    `postgresql+asyncpg://user@host/database`.
    """

    url: SecretStr | None = None


class RetentionSettings(Section):
    """
    These settings say how long earlier contents are kept: a record's earlier versions for `version_days`, at most
    `versions` of each; what was attempted for `attempt_days`. The audit trail and the certificates are kept for good.
    """

    version_days: Annotated[float, Field(ge=0)] = 365.0
    versions: Annotated[int, Field(ge=0)] = 50
    attempt_days: Annotated[float, Field(ge=0)] = 90.0


class TelemetrySettings(Section):
    """
    Traces and metrics by OTLP over HTTP where `endpoint` is set; every `metrics_every` seconds the metrics.

    `traces_a_second` bounds how many changes are traced from row to answer: on a usual day all of them, in a first load a
    sample; `all` traces every one, whatever that costs. `console` prints spans; `logs` is how a log line is written.
    """

    endpoint: str | None = None
    console: bool = False
    traces_a_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] | Literal["all"] = 50.0
    metrics_every: Annotated[float, Field(ge=1, le=3600)] = 15.0
    logs: Literal["console", "json"] = "console"
    service_name: str = "ironbridge"

    @property
    def most_traces(self) -> float:
        """Traces a second; infinite for `all`."""
        return float("inf") if self.traces_a_second == "all" else self.traces_a_second


_Address = Annotated[str | None, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[^:\s/\[\]]+):\d{1,5}$")]


def address_of(where: str) -> tuple[str, int]:
    """Host and port of a text `host:port`."""
    host, _, port = where.rpartition(":")
    return host.strip("[]"), int(port)


class HttpSettings(Section):
    """
    The addresses at which `ironbridge run` answers HTTP. `listen` is `host:port`, e.g. `127.0.0.1:8080` (`[::1]:8080`; port 0
    takes a free one). Without it nothing listens.

    `probes` is a separate address for `/healthz`, `/readyz` and `/progress`, e.g. `0.0.0.0:8081`: a client that uses up the
    console's connections cannot silence them. Without it they are answered at `listen`.
    """

    listen: _Address = None
    probes: _Address = None

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of `listen`; None if nothing shall listen."""
        return address_of(self.listen) if self.listen else None


class ConsoleSettings(Section):
    """
    The web console at the address `http.listen`. `public_url` is how people reach it. Without `issuer` nobody signs in; only
    a loopback address may do that. `roles_claim` names the claim that holds the roles: `roles` (Entra ID),
    `realm_access.roles` (Keycloak). `trace_url` and `dashboards_url` are links, e.g. `https://jaeger/trace/{trace}`.

    Every `recheck_minutes` the console asks the provider whether a person still has their roles. For that it needs a refresh
    token, which Entra ID gives if `scope` holds `offline_access`. A session without one ends then: the person signs in again.
    """

    serve: bool = True
    public_url: str | None = None
    issuer: str | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    roles_claim: str = "roles"
    viewer_role: str = "ironbridge-viewer"
    operator_role: str = "ironbridge-operator"
    personal_role: str = "ironbridge-personal"
    session_secret: SecretStr | None = None
    session_hours: Annotated[float, Field(gt=0, le=24)] = 8.0
    recheck_minutes: Annotated[float, Field(gt=0, le=60)] = 5.0
    scope: str = "openid profile email offline_access"
    spans_kept: Annotated[int, Field(ge=0, le=1_000_000)] = 20_000
    trace_url: str | None = None
    dashboards_url: str | None = None


def _listed(given: object) -> object:
    """In the environment, names are separated by commas."""
    return [name.strip() for name in given.split(",") if name.strip()] if isinstance(given, str) else given


class TablesSettings(Section):
    """
    The open tables: every canonical entity as Delta Lake tables, which DuckDB, Power BI and others read. `ironbridge run tables`
    writes them. Without `path` there are none.
    """

    path: str | None = None
    """Where they lie: a folder, or an address such as `s3://bucket/tables` or `abfss://container@account.dfs.core.windows.net/tables`."""
    entities: Annotated[tuple[str, ...], BeforeValidator(_listed), NoDecode] = ()
    """The entities that have tables, by their type's names, e.g. `care-episode`. Without it: all."""
    hold: Annotated[tuple[Sensitivity, ...], BeforeValidator(_listed), NoDecode] = (Sensitivity.PLAIN,)
    """The classes of fields that the tables have: plain, identifying, special, financial. Other fields are left out."""
    apart: Annotated[tuple[Sensitivity, ...], BeforeValidator(_listed), NoDecode] = ()
    """The classes of fields that stand in tables of their own below `apart_path`, for fewer people."""
    apart_path: str | None = None
    """Where the tables apart lie."""
    storage: dict[str, SecretStr] = {}
    """
    What reaches an object store, by the names that delta-rs gives its options, e.g. `aws_region`, `aws_endpoint_url`,
    `aws_access_key_id`, `azure_storage_account_key`. Secrets belong in the environment:
    IRONBRIDGE_TABLES__STORAGE__AWS_SECRET_ACCESS_KEY
    """
    batch: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    """So many events at most go into one commit of a table."""
    every: Annotated[float, Field(ge=0, le=86_400)] = 30.0
    """Seconds for which events are gathered before they are written, if they are fewer than `batch`."""
    upkeep: Annotated[float, Field(ge=0)] = 3600.0
    """Seconds between two rounds in which the tables' files are joined and old ones deleted."""
    keep_hours: Annotated[int, Field(ge=1, le=8760)] = 24
    """For so many hours files stay that the tables no longer need: a reader may be at work on them."""
    deleted_days: Annotated[float, Field(ge=0)] = 30.0
    """So many days after an entity was deleted its earlier versions are deleted from the history too."""

    @model_validator(mode="after")
    def _has_a_place_for_each(self) -> TablesSettings:
        if self.apart and not (self.path and self.apart_path):
            raise ValueError("apart needs apart_path, where those tables lie, and path")
        if both := set(self.hold) & set(self.apart):
            raise ValueError(f"hold and apart both name {', '.join(sorted(both))}: a field stands in one of the two")
        if self.apart_path and self.apart_path.rstrip("/") == (self.path or "").rstrip("/"):
            raise ValueError("apart_path is path: the tables apart need a place of their own")
        return self


_PREFIX, _AS_FILE = "ironbridge_", "_file"
_NAMED_SO = {f"{_PREFIX}kafka__oauth_token_file"}
"""Settings whose own names end as those of a secret's file do."""


class _Environment(EnvSettingsSource):
    """The environment. `IRONBRIDGE_STATE__URL_FILE` names a file that holds the setting `IRONBRIDGE_STATE__URL`."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        found = dict(super()._load_env_vars())
        for name in [name for name in found if name.startswith(_PREFIX) and name.endswith(_AS_FILE)]:
            if name not in _NAMED_SO:
                path, setting = found.pop(name) or "", name.removesuffix(_AS_FILE)
                if setting in found:
                    raise MisconfiguredError(
                        name.upper(), f"{setting.upper()} is set as well", fix="leave one of the two out"
                    )
                found[setting] = _content(name.upper(), path)
        return found


def _content(name: str, path: str) -> str:
    try:
        content = Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise MisconfiguredError(
            name, f"the file that it names cannot be read ({type(error).__name__})", fix="look at the path, and who may read it"
        ) from None
    if not content:
        raise MisconfiguredError(name, "the file that it names is empty", fix="look at what writes it")
    return content


def _part(name: str) -> str:
    if not re.fullmatch(r"(adapter|flow)/[^\s,/]+|tables", name):
        raise ValueError("is no part: write `adapter/NAME`, `flow/NAME` or `tables`")
    return name


class Settings(BaseSettings):
    """
    The whole file. `adapters` and `targets` hold a section for each system; its `system` defaults to its name. `flows` holds a
    section for each flow that is more than the one which ships with its `target`.

    Only `load` reads the file and the environment: settings that a program gives, as the demonstration's, are those and no more.
    """

    model_config = SettingsConfigDict(
        env_prefix="IRONBRIDGE_", env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    data: Path = Path(".ironbridge")
    """Where the embedded parts keep their files."""
    worker: str | None = None
    """This worker's name in Kafka's groups; the host's where it is not given."""
    expected: Annotated[tuple[Annotated[str, AfterValidator(_part)], ...] | None, BeforeValidator(_listed), NoDecode] = None
    """
    The parts that should run somewhere on this state, as `adapter/NAME`, `flow/NAME` and `tables`, also those that these settings
    do not hold. One that runs nowhere is told. Without it: all parts of these settings.
    """
    kafka: KafkaSettings = KafkaSettings()
    state: StateSettings = StateSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    retention: RetentionSettings = RetentionSettings()
    http: HttpSettings = HttpSettings()
    console: ConsoleSettings = ConsoleSettings()
    tables: TablesSettings = TablesSettings()
    # Not yet checked by the systems' own models, so nobody knows what in them is a secret: never printed, never dumped.
    adapters: Annotated[dict[str, dict[str, Any]], Field(repr=False, exclude=True)] = {}
    targets: Annotated[dict[str, dict[str, Any]], Field(repr=False, exclude=True)] = {}
    flows: Annotated[dict[str, dict[str, Any]], Field(repr=False, exclude=True)] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = _file.get()
        if file is None:
            return (init_settings,)
        return init_settings, _Environment(settings_cls), TomlConfigSettingsSource(settings_cls, file)

    @property
    def state_url(self) -> str:
        if self.state.url is not None:
            return self.state.url.get_secret_value()
        return f"sqlite+aiosqlite:///{self.data / 'state.sqlite3'}"


def load(file: Path | None = None, **given: Any) -> Settings:
    """
    Read the settings.

    :raises MisconfiguredError: one sentence a mistake, each naming the setting and what to do.
    """
    if file is not None and not file.exists():
        raise MisconfiguredError(str(file), "there is no such file", fix="write one with `ironbridge init`")
    where = file or Path(FILE)
    reading = _file.set(where)
    try:
        return Settings(**given)
    except ValidationError as error:
        raise explained(str(where), error, Settings) from None
    except RecursionError:
        raise MisconfiguredError(str(where), "is nested too deep") from None
    except ValueError as error:  # tomllib.TOMLDecodeError
        raise MisconfiguredError(str(where), f"is not TOML: {error}") from None
    finally:
        _file.reset(reading)


def section(
    where: str, model: type[BaseModel], given: Mapping[str, Any], besides: Sequence[type[BaseModel]] = ()
) -> BaseModel:
    """
    One system's section, checked by its own model; `where` is its heading, e.g. `adapters.liquidlogic`. A word that is in none
    may be meant for one of the models `besides`, whose settings stand in the same section.
    """
    ours = ("system", "guard_share", "guard_few", "within")
    try:
        return model.model_validate({name: _decoded(model, name, value) for name, value in given.items() if name not in ours})
    except ValidationError as error:
        raise explained(where, error, model, *besides) from None


def _decoded(model: type[BaseModel], name: str, value: Any) -> Any:
    """A list or a table that the environment gives is JSON; what is none of it is left for the model to refuse."""
    hint = getattr(model.model_fields.get(name), "annotation", None)
    several = get_origin(hint) in (list, tuple, dict, set, frozenset, Mapping, Sequence)
    with suppress(ValueError):
        return json.loads(value) if several and isinstance(value, str) else value
    return value


def explained(where: str, error: ValidationError, *models: type[BaseModel]) -> MisconfiguredError:
    """Say what is wrong, one sentence a mistake. A word that means nothing is held against the settings of `models`."""
    sentences = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        path = [str(step) for step in each["loc"]]
        sentence = f"{'.'.join(path)}: {each['msg'].removeprefix('Value error, ')}"
        if each["type"] in ("extra_forbidden", "missing"):
            sentence = f"`{'.'.join(path)}` is {'not a setting' if each['type'] == 'extra_forbidden' else 'missing'}"
            there = [name for model in models for name in _names(model, path[:-1])]
            near = difflib.get_close_matches(path[-1], there, n=1)
            sentence += f", did you mean `{near[0]}`?" if near and each["type"] == "extra_forbidden" else ""
        sentences.append(sentence)
    prefix = where.upper().replace(".", "__") if "." in where and not where.endswith(".toml") else ""
    variable = f"IRONBRIDGE_{prefix}__…" if prefix else "IRONBRIDGE_…"
    return MisconfiguredError(
        where, "; ".join(sentences), fix=f"mend it in the file, or set {variable} in the environment"
    )


def _names(model: type[BaseModel], path: list[str]) -> list[str]:
    steps = iter(path)
    for step in steps:
        field = model.model_fields.get(step)
        inner = [t for t in (getattr(field, "annotation", None), *get_args(getattr(field, "annotation", None))) if t]
        found = next((t for t in inner if isinstance(t, type) and issubclass(t, BaseModel)), None)
        if found is None:
            return []
        if get_origin(getattr(field, "annotation", None)) in (dict, tuple):
            next(steps, None)  # which of them
        model = found
    return list(model.model_fields)
