"""A first message of the sensor-reading contract, with nothing but fastavro, kafka-python and PyYAML.

pip install fastavro kafka-python pyyaml
python first_message.py ACCESS TOPIC SUBJECT CONTRACT
python first_message.py acme/wellspring.yaml acme.sensor-reading.v1 p-17 sensor-reading.1.1.avsc

ACCESS is the wellspring.yaml of the folder that you were given, or host:port of a broker that is open to everybody.
"""

import io
import json
import struct
import sys
import time
from pathlib import Path

import fastavro
import yaml
from kafka import KafkaProducer

NAMES = {
    "bootstrap": "bootstrap_servers",
    "security": "security_protocol",
    "mechanism": "sasl_mechanism",
    "username": "sasl_plain_username",
    "password": "sasl_plain_password",
    "ca_file": "ssl_cafile",
    "cert_file": "ssl_certfile",
    "key_file": "ssl_keyfile",
}  # of the file's settings, as kafka-python calls them


def client(access: str) -> dict[str, str]:
    if not access.endswith(".yaml"):
        return {"bootstrap_servers": access}
    kafka = yaml.safe_load(Path(access).read_text(encoding="utf-8"))["kafka"]
    if "username" in kafka:
        kafka.setdefault("mechanism", "SCRAM-SHA-512")
    files = {name: str(Path(access).parent / kafka[name]) for name in kafka if name.endswith("_file")}
    return {NAMES[name]: value for name, value in {**kafka, **files}.items() if name in NAMES}


access, topic, subject, contract = sys.argv[1:]
with open(contract, encoding="utf-8") as file:
    schema = fastavro.parse_schema(json.load(file))
canonical = fastavro.schema.to_parsing_canonical_form(schema)
fingerprint = bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))

minute_us = 60_000_000
start_us = time.time_ns() // 1000 - 5 * minute_us
heart_rates = [61.0, 62.0, 64.0, 63.0]
message = {
    "subject": subject,
    "metric": "heart_rate",
    "unit": "/min",
    "source": {"name": "first-watch"},
    "times": {"start": start_us, "period": minute_us},
    "values": {"dtype": "f8", "data": struct.pack(f"<{len(heart_rates)}d", *heart_rates)},
}

body = io.BytesIO()
fastavro.schemaless_writer(body, schema, message)
value = b"\xc3\x01" + fingerprint + body.getvalue()

producer = KafkaProducer(**client(access), acks="all")
record = producer.send(topic, key=subject.encode(), value=value).get(timeout=10)
producer.close()
print(f"{len(heart_rates)} readings are at {record.topic}, partition {record.partition}, offset {record.offset}")
