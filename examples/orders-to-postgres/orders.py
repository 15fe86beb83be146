"""Makes orders: `orders.py COUNT [PART PARTS]` prints their messages, `orders.py COUNT --expected` the rows they end as.

Each third order is a draft first and paid later; each tenth stays a draft. The second word of a line is the order's number,
by which its messages keep their order: `galgo send --key-field 2`.
"""

import json
import sys


def cents(order):
    return (order % 97 + 1) * 100 * (order % 3 + 1) + 99


def message(order, status):
    items = [
        {"sku": f"A-{order}", "cents": (order % 97 + 1) * 100, "count": order % 3 + 1},
        {"sku": "postage", "cents": 99, "count": 1},
    ]
    body = {"id": order, "status": status, "at": "2026-11-30T12:00:00Z", "items": items}
    return json.dumps(body)


def messages(order):
    if order % 10 == 0:
        return [message(order, "draft")]
    if order % 3 == 0:
        return [message(order, "draft"), message(order, "paid")]
    return [message(order, "placed"), message(order, "paid")]


def main():
    count = int(sys.argv[1])
    if sys.argv[2:] == ["--expected"]:
        for order in range(count):
            if order % 10:
                print(f"{order}|paid|{cents(order)}")
        return
    part, parts = (int(text) for text in sys.argv[2:4] or ["1", "1"])
    for order in range(count * (part - 1) // parts, count * part // parts):
        for text in messages(order):
            print(text)


main()
