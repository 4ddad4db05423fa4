"""Any bytes that a sender brings are read as a message, or are refused in our own words. The fuzzers try it."""

from __future__ import annotations

from random import Random

import hl7
from pydantic import ValidationError

from adapters.hospital.adapter import entity
from adapters.hospital.patient import FIELDS, patient_row
from adapters.hospital.stay import stay_after, stay_row
from adapters.hospital.world import Hospital
from adapters.kit.hl7 import Hl7RefusalError, answer, head_of, parsed
from canonical.errors import BadRecordError
from security.properties import Target


def message(data: bytes) -> None:
    said = answer(head_of(data), "AE").decode("latin-1")
    assert "\rMSA" in said
    try:
        read = parsed("hospital", data)
    except Hl7RefusalError:
        return
    assert str(hl7.parse(said).segment("MSA")[1]) == "AE"
    stay = stay_after({}, read)
    patient = {"said": {**read.said("PID", FIELDS["PID"]), **read.said("PD1", FIELDS["PD1"])}}
    for row in (("person", *patient_row("1", patient, ("NH",))), ("stay", *stay_row("1", "1", stay, "PV1-7"))):
        try:
            made = entity("hospital", "Europe/London", row)
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
