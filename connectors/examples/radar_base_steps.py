"""RADAR-base's android_phone_step_count, an hour a file, as sensor-json lines on standard output.

    python radar_base_steps.py HOUR.csv.gz …

A record counts the steps since the record before it, so its interval begins there: at the record before of the same
source in the file, and for the first one at the beginning of the hour. So a file says the same, however often it is
sent and with whichever others. RADAR-base's own time is the interval's end.
"""

import csv
import gzip
import json
import sys

for file in sys.argv[1:]:
    with gzip.open(file, "rt") if file.endswith(".gz") else open(file, encoding="utf-8") as content:
        before: dict[str, float] = {}
        for row in csv.DictReader(content):
            source, end = row["key.sourceId"], float(row["value.time"])
            hour = (end - 0.001) // 3600 * 3600
            line = {"metric": "steps_interval", "unit": "{steps}", "source": source}
            line |= {"start": min(before.get(source, hour), end), "end": end, "value": int(row["value.steps"])}
            before[source] = end
            print(json.dumps(line))
