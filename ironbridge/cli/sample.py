"""The settings file that `ironbridge init` writes: every setting that matters, explained, and a section a system."""

from __future__ import annotations

from ironbridge.runtime.installed import ADAPTERS, FLOWS, TARGETS, loaded

_HEAD = """\
# Ironbridge's settings. Every value can also come from the environment, which goes over this file:
#   [kafka] bootstrap_servers   is   IRONBRIDGE_KAFKA__BOOTSTRAP_SERVERS
# With _FILE behind its name a variable names a file that holds the value, as a secret's driver mounts it.
# Secrets belong there, not here. `ironbridge check` looks at all of it and says what to mend.

# data = ".ironbridge"            # where the embedded parts keep their files
# worker = "bridge-1"             # this worker's name in Kafka's groups; the host's name by default
# The parts that should run somewhere on this state, in this process or in others; one that runs nowhere is told. Without it: all
# parts of this file. In the environment: IRONBRIDGE_EXPECTED=adapter/liquidlogic,flow/dfe_csc
# expected = ["adapter/liquidlogic", "flow/dfe_csc"]

[kafka]
# embedded: a small development broker beside the program, never for production.
# apache: real Apache Kafka from its jars, beside the program (Java 17 or newer).
# none: a Kafka that runs elsewhere, named by bootstrap_servers.
broker = "embedded"
# bootstrap_servers = "kafka-1:9093,kafka-2:9093"
# security_protocol = "SASL_SSL"
# sasl_mechanism = "SCRAM-SHA-512"    # PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER
# username = "ironbridge"             # the password: IRONBRIDGE_KAFKA__PASSWORD
# oauth_token_file = "/run/secrets/token"   # OAUTHBEARER: a token that something else keeps fresh
# ssl_cafile = "/etc/ironbridge/ca.pem"     # the authority of its certificates, where it is not a public one
# ssl_certfile = "/etc/ironbridge/us.pem"   # our own certificate and key, where the broker asks for one
# ssl_keyfile = "/etc/ironbridge/us.key"
# partitions = 6                      # the same for every topic, and for good: an owner's events stay together
# replication = 3
# topic_prefix = "canonical"

[state]
# PostgreSQL in production; without a URL the state is an SQLite file below `data`.
# With a password in it, it belongs in the environment: IRONBRIDGE_STATE__URL
# A server elsewhere is reached by TLS and its certificate checked; ?sslrootcert=FILE names a private authority, ?sslmode=disable
# does without, on a network that is trusted.
# url = "postgresql+asyncpg://ironbridge@db/ironbridge?sslrootcert=/etc/ironbridge/ca.pem"

[telemetry]
# endpoint = "http://localhost:4318"  # an OpenTelemetry collector, OTLP over HTTP
# traces_a_second = 50                # so many changes a second are traced from the row to the answer; "all": every one
# metrics_every = 15                  # seconds
# logs = "console"                    # or "json": one object a line
# console = false                     # print spans

[retention]
# version_days = 365                  # a record's earlier versions: so long, and at most `versions` of each
# versions = 50
# attempt_days = 90                   # what was tried at a target; the audit trail and certificates are kept for good

[tables]
# Every entity as Delta Lake tables, for Power BI, DuckDB and others; `ironbridge run tables` writes them (ironbridge[tables]).
# path = "/srv/tables"                # or s3://bucket/tables, abfss://container@account.dfs.core.windows.net/tables
# entities = ["person", "invoice"]    # without it all
# hold = ["plain"]                    # the classes of fields that they have: plain, identifying, special, financial
# apart = ["identifying"]             # classes of fields that stand in tables of their own, below apart_path
# apart_path = "/srv/tables-apart"
# batch = 50000                       # events in one commit, at most
# every = 30                          # seconds for which events are gathered
# upkeep = 3600                       # seconds between two rounds that join files and delete old ones
# keep_hours = 24                     # files that are no longer needed stay for readers at work
# deleted_days = 30                   # after that a deleted entity leaves the history, too
# storage = {aws_region = "eu-west-2"}   # secrets: IRONBRIDGE_TABLES__STORAGE__AWS_SECRET_ACCESS_KEY

[http]
# listen = "127.0.0.1:8080"           # the console
# probes = "127.0.0.1:8081"           # /healthz, /readyz and /progress; without it they are answered at `listen`

[console]
# On 127.0.0.1 nobody signs in. On any other address people sign in with OpenID Connect, e.g. Entra ID or Keycloak; the
# client's secret belongs in IRONBRIDGE_CONSOLE__CLIENT_SECRET, and what signs the cookies in …__SESSION_SECRET
# public_url = "https://bridge.council.gov.uk"    # how people reach it; the provider sends them back to …/signed-in
# issuer = "https://login.microsoftonline.com/TENANT/v2.0"
# client_id = "…"
# roles_claim = "roles"                           # Keycloak: "realm_access.roles"
# viewer_role = "ironbridge-viewer"               # may look
# operator_role = "ironbridge-operator"           # may retry, drop, pause and resume
# personal_role = "ironbridge-personal"           # may see personal fields, each time with a reason
# trace_url = "https://jaeger.council.gov.uk/trace/{trace}"
# dashboards_url = "https://grafana.council.gov.uk/"
# serve = true                                    # false: nothing but health where http.listen says
"""

_FLOWS = """\
# ---- flows --------------------------------------------------------------------------------------------------------
# A target to which no section here writes runs the flow that ships with it. For more flows at one target, or for another one,
# each gets a section here; then the target's section says only where and with which credentials and limits.
# [flows.suppliers]
# target = "finance"                  # the section [targets.finance]
# system = "purchases"                # which flow; without it the one of this section's name, or the one that ships
# within = 900                        # seconds in which a change is to be confirmed or parked
"""


def sample() -> str:
    """The head, then a commented section for each installed system."""
    parts = [_HEAD, "\n# ---- legacy systems: take the comment marks off those that you have " + "-" * 40 + "\n"]
    parts += [_commented(system.sample) for system in loaded(ADAPTERS).values()]
    parts.append("# ---- cloud systems " + "-" * 90 + "\n")
    parts += [_commented(system.sample) for system in loaded(TARGETS).values()]
    parts.append(_FLOWS)
    parts += [_commented(system.sample) for system in loaded(FLOWS).values()]
    return "\n".join(parts)


def _commented(section: str) -> str:
    lines = section.strip().splitlines()
    return "\n".join(line if line.startswith("#") or not line.strip() else f"# {line}" for line in lines) + "\n"
