"""A first message of the sensor-reading contract, with nothing but fastavro and kafka-python.

pip install fastavro kafka-python
python first_message.py ACCESS TOPIC SUBJECT CONTRACT
python first_message.py acme/client.json acme.sensor-reading.v1 p-17 sensor-reading.1.1.avsc

ACCESS is the client.json of the folder that you were given, or host:port of a broker that is open to everybody.
"""

import io
import json
import struct
import sys
import time
from pathlib import Path

import fastavro
from kafka import KafkaProducer

access, topic, subject, contract = sys.argv[1:]
client = json.loads(Path(access).read_text()) if access.endswith(".json") else {"bootstrap_servers": access}
client |= {name: str(Path(access).parent / file) for name, file in client.items() if name.endswith("file")}
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

producer = KafkaProducer(**client, acks="all")
record = producer.send(topic, key=subject.encode(), value=value).get(timeout=10)
producer.close()
print(f"{len(heart_rates)} readings are at {record.topic}, partition {record.partition}, offset {record.offset}")
