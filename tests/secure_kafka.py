"""
Apache Kafka with TLS on: SCRAM and OAUTHBEARER on one listener, client certificates on another. Its ACLs refuse everybody but
`USER`, who may do anything: `COUNCIL` may do what a test grants.
"""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ironbridge.kafka.broker import ApacheKafka
from ironbridge.kafka.process import HOST, free_port
from ironbridge.settings import KafkaSettings
from tests.servers import Certified, certified, issued, running_broker

USER, COUNCIL, PASSWORD = "ironbridge", "council", "a-password-nobody-has"
ISSUER, AUDIENCE = "https://login.example/tenant", "kafka"
_MODULES = "org.apache.kafka.common.security"


class SecureKafka(ApacheKafka):
    """Its plain listener is for its own health only; the others are `scram_and_oauth` and `mutual`."""

    def __init__(self, data_dir: Path | str, port: int = 0) -> None:
        super().__init__(data_dir, port)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.sasl_port, self.mutual_port = free_port(), free_port()
        self.tls = certified(self.data_dir)
        self.signer = rsa.generate_private_key(65537, 2048)
        keys = self.data_dir / "jwks.json"
        keys.write_text(json.dumps({"keys": [_public(self.signer)]}), encoding="utf-8")
        self._keys = keys.as_uri()
        self.java_options = (f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self._keys}",)
        users = [f"SCRAM-SHA-512=[name={user},password={PASSWORD}]" for user in (USER, COUNCIL)]
        self.format_options = tuple(option for user in users for option in ("--add-scram", user))

    def server_settings(self, controller_port: int) -> dict[str, object]:
        plain = super().server_settings(controller_port)
        sasl, oauth = "listener.name.sasl_ssl", "listener.name.sasl_ssl.oauthbearer"
        beside = f",SASL_SSL://{HOST}:{self.sasl_port},SSL://{HOST}:{self.mutual_port}"
        return plain | {
            "listeners": f"{plain['listeners']}{beside}",
            "advertised.listeners": f"{plain['advertised.listeners']}{beside}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL",
            "inter.broker.listener.name": "PLAINTEXT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:{USER}",  # the broker itself signs in as nobody
            "ssl.principal.mapping.rules": f"RULE:^.*$/{USER}/",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.tls.both,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.tls.ca,
            "listener.name.ssl.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,OAUTHBEARER",
            f"{sasl}.scram-sha-512.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule required;",
            f"{oauth}.sasl.jaas.config": f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required;",
            f"{oauth}.sasl.server.callback.handler.class": f"{_MODULES}.oauthbearer.OAuthBearerValidatorCallbackHandler",
            # Said outright: the default of Kafka 4.1 takes tokens of any signer, issuer and audience here.
            "sasl.oauthbearer.jwt.validator.class": f"{_MODULES}.oauthbearer.BrokerJwtValidator",
            "sasl.oauthbearer.jwks.endpoint.url": self._keys,
            "sasl.oauthbearer.expected.audience": AUDIENCE,
            "sasl.oauthbearer.expected.issuer": ISSUER,
        }

    def token(self, lasts: float = 300.0, signer: rsa.RSAPrivateKey | None = None, **claims: Any) -> str:
        """A JWT as Entra ID would give it; `lasts` is in seconds from now."""
        now = int(time.time())
        said = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": USER,
            "scope": "kafka",
            "iat": now - 600,
            "exp": now + int(lasts),
        }
        signed = f"{_json({'alg': 'RS256', 'kid': 'one', 'typ': 'JWT'})}.{_json(said | claims)}"
        signature = (signer or self.signer).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_written(signature)}"

    def settings(self, **given: Any) -> KafkaSettings:
        """How a client would sign in by SCRAM, with something of it changed."""
        how = {
            "broker": "none", "bootstrap_servers": f"{HOST}:{self.sasl_port}", "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512", "username": USER, "password": PASSWORD, "ssl_cafile": str(self.tls.ca),
            "partitions": 1,
        }  # fmt: skip
        return KafkaSettings.model_validate(how | given)


@dataclass(frozen=True)
class Secure:
    """The running broker, a folder for a test's own files, and a certificate for a client."""

    broker: SecureKafka
    client: Certified


@contextmanager
def running_secure_kafka(folder: Path) -> Iterator[Secure]:
    with running_broker(SecureKafka) as kafka:
        broker = kafka.broker
        assert isinstance(broker, SecureKafka)
        yield Secure(broker, issued(broker.tls.authority, folder, name="ironbridge"))


def _public(key: rsa.RSAPrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one", "n": _number(numbers.n), "e": _number(numbers.e)}


def _number(value: int) -> str:
    return _written(value.to_bytes((value.bit_length() + 7) // 8))


def _json(value: object) -> str:
    return _written(json.dumps(value).encode())


def _written(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
