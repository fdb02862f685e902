"""A program outside of the shop that reads its events from Valkey: it counts what was sold, and misses nothing while it is down.

pip install redis; python reader.py redis://localhost:6379/0 sold.json
"""

import json
import sys
from pathlib import Path
from typing import Any

import redis


def main(url: str, file: Path) -> None:
    known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"read_to": "0", "sold": {}}
    valkey: Any = redis.Redis.from_url(url, decode_responses=True)
    while True:
        for _, entries in valkey.xread({"shop.events": known["read_to"]}, count=100, block=1000):
            for entry, fields in entries:
                known["read_to"] = entry  # an entry's id is the number of its event: whoever reads on from it gets each event once
                if fields["type"] == "order.fulfilled":
                    count(json.loads(fields["event"])["data"]["lines"], known["sold"])
            half = file.with_suffix(".half")
            half.write_text(json.dumps(known))  # the effect and the position are written together
            half.replace(file)


def count(lines: list[dict[str, Any]], sold: dict[str, int]) -> None:
    for line in lines:
        sold[line["sku"]] = sold.get(line["sku"], 0) + line["quantity"]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
