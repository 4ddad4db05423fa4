"""Any bytes that a sender brings are read as a message, or are refused in our own words. The fuzzers try it."""

from __future__ import annotations

from random import Random

import hl7
from pydantic import SecretStr, ValidationError

from adapters.hospital import HospitalAdapter, HospitalSettings
from adapters.hospital.world import Hospital
from adapters.kit.hl7 import Hl7RefusalError, answer, head_of, parsed
from canonical.errors import BadRecordError
from security.properties import Target

ADAPTER = HospitalAdapter("hospital", HospitalSettings(port=0, url=SecretStr("sqlite:////nowhere")))


def message(data: bytes) -> None:
    said = answer(head_of(data), "AE").decode("latin-1")
    assert "\rMSA" in said
    try:
        read = parsed("hospital", data)
    except Hl7RefusalError:
        return
    assert str(hl7.parse(said).segment("MSA")[1]) == "AE"
    patients, stays, _ = ADAPTER.rows
    pid = read.first("PID")
    patient = patients.after({}, read, pid, "") if pid else {"said": {}}
    for row in (("person", *patients.row("1", patient)), ("stay", *stays.row("1", "1", stays.after({}, read)))):
        try:
            made = ADAPTER.streams()[0].map(row)
            state = type(made).from_bytes(made.to_bytes())  # without control characters
        except (BadRecordError, ValidationError):
            continue
        assert type(made).from_bytes(state.to_bytes()) == state


def messages(seed: int) -> list[bytes]:
    """Messages of an invented hospital, some of them with a byte that is another one."""
    random, found = Random(seed), []
    for sent in Hospital(seed).messages(24):
        data = bytearray(sent.encode())
        for _ in range(random.choice([0, 0, 1, 3])):
            data[random.randrange(len(data))] = random.choice(b"\r|^~\\&\"X0 \xc3")
        found.append(bytes(data))
    return found


TARGETS = {"hospital_message": Target(message, messages)}
