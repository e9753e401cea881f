"""Polar AccessLink's continuous heart rate, a JSON file a day, as sensor-json lines on standard output.

    python polar_heart_rate.py DAY.json … [--zone Europe/Madrid]

The samples' times are those of the person's wall clock; without --zone they go as they are, and the partner's
registration must say which zone to assume. Polar writes 0 where the sensor lost contact: that is no reading.
"""

import argparse
import json

arguments = argparse.ArgumentParser()
arguments.add_argument("files", nargs="+")
arguments.add_argument("--zone")
given = arguments.parse_args()

for file in given.files:
    with open(file, encoding="utf-8") as content:
        day = json.load(content)
    for sample in day["heart_rate_samples"]:
        if sample["heart_rate"] == 0:
            continue
        line = {"metric": "heart_rate", "unit": "/min", "source": "Polar AccessLink"}
        line |= {"time": f"{day['date']}T{sample['sample_time']}", "value": sample["heart_rate"]}
        line |= {"zone": given.zone} if given.zone else {}
        print(json.dumps(line))
