"""RADAR-base's android_phone_acceleration, an hour a file, as sensor-json lines on standard output.

    python radar_base_acceleration.py HOUR.csv.gz …

The values are in g, which UCUM writes [g]; the three axes of a sample stay together. Samples that share a time stamp
are sent as they are: their order is the file's.
"""

import csv
import gzip
import json
import sys

for file in sys.argv[1:]:
    with gzip.open(file, "rt") if file.endswith(".gz") else open(file, encoding="utf-8") as content:
        for row in csv.DictReader(content):
            line = {"metric": "acceleration", "unit": "[g]", "source": row["key.sourceId"]}
            line |= {"time": float(row["value.time"]), "channels": ["x", "y", "z"]}
            line |= {"value": [float(row[f"value.{axis}"]) for axis in "xyz"]}
            print(json.dumps(line))
