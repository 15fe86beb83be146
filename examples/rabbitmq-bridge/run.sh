#!/usr/bin/env bash
# Both ways through RabbitMQ: a topic into a queue by one pipeline, the queue into another topic by a second one. Both are killed
# with `kill -9` on the way. Then each message has to be in the second topic, once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ../servers.sh
messages=${MESSAGES:-6000}

echo '== servers =='
start_galgo
start_rabbitmq
cat >"$work/definitions.json" <<'END'
{"queues": [{"name": "billing", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}}]}
END
rabbitmqctl_here import_definitions "$work/definitions.json" >"$work/rabbitmqctl.log"
galgo stream create shop
galgo topic create shop orders --partitions 2
galgo stream create billing
for file in out.toml in.toml; do
    sed "s/127.0.0.1:5672/127.0.0.1:$rabbitmq_port/" "$file" >"$work/$file"
done
galgo connect check "$work/out.toml" "$work/in.toml"

echo "== $messages messages, both pipelines, three kills of each =="
start_pipeline "$work/out.toml"
out=$pipeline
start_pipeline "$work/in.toml"
in=$pipeline
for part in 0 1 2; do
    for ((n = messages * part / 3; n < messages * (part + 1) / 3; n++)); do
        printf '{"customer":"c%d","number":%d}\n' $((n % 50)) "$n"
    done | galgo send shop orders
    kill_pipeline "$out"
    kill_pipeline "$in"
    start_pipeline "$work/out.toml"
    out=$pipeline
    start_pipeline "$work/in.toml"
    in=$pipeline
done

arrived() {
    galgo tail billing events --from start --format json >"$work/arrived.json"
    (($(wc -l <"$work/arrived.json") >= messages))
}
until_true 'all messages arrive' arrived

echo '== each message, once =='
python3 check.py "$work/arrived.json" "$messages"
