#!/usr/bin/env bash
# Orders into PostgreSQL, while two copies of the pipeline are killed with `kill -9` in turn. Then every order has to be there,
# once, as its last message says.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ../servers.sh
orders=${ORDERS:-20000}

echo '== servers =='
start_galgo
start_postgres
galgo stream create shop
galgo topic create shop orders --partitions 4
sed "s/127.0.0.1:5432/127.0.0.1:$PGPORT/" orders.toml >"$work/orders.toml"

echo '== would it work? =='
python3 orders.py 3 | galgo send shop orders --key-field 2
galgo connect check "$work/orders.toml"

echo "== $orders orders, two copies of the pipeline, four kills =="
start_pipeline "$work/orders.toml"
first=$pipeline
start_pipeline "$work/orders.toml"
second=$pipeline
for part in 1 2 3 4; do
    python3 orders.py "$orders" "$part" 4 | galgo send shop orders --key-field 2 &
    sending=$!
    sleep "0.$((RANDOM % 9))"
    if ((part % 2)); then
        kill_pipeline "$first"
        start_pipeline "$work/orders.toml"
        first=$pipeline
    else
        kill_pipeline "$second"
        start_pipeline "$work/orders.toml"
        second=$pipeline
    fi
    wait "$sending"
done

echo '== what is left is delivered by a run that ends by itself =='
galgo connect run --once "$work/orders.toml"
galgo connect status "$work/orders.toml"

echo '== every order, once, as its last message says =='
sql 'SELECT order_id, status, cents FROM orders ORDER BY order_id' >"$work/found"
python3 orders.py "$orders" --expected >"$work/expected"
cmp "$work/found" "$work/expected"
echo "$(wc -l <"$work/found") orders are in the table as they should be"
