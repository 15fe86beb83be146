#!/usr/bin/env bash
# An audit log that survives a kill: sends the machine's package log, kills the server in the middle
# with `kill -9`, starts it again, sends the rest, replays everything and checks every line.
#
#   SEED=7 LINES_WANTED=200000 LOG=/var/log/dpkg.log examples/audit-log/run.sh
#
# GALGO_BIN names the binary; without it, target/release/galgo is used, and built when missing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
seed=${SEED:-$RANDOM}
lines=${LINES_WANTED:-200000}
log=${LOG:-/var/log/dpkg.log}

if [[ -z ${GALGO_BIN:-} ]]; then
    GALGO_BIN=$root/target/release/galgo
    [[ -x $GALGO_BIN ]] || cargo build --release --manifest-path "$root/Cargo.toml"
fi
work=$(mktemp -d)
server_pid=
send_pid=

cleanup() {
    local code=$?
    [[ -z $send_pid ]] || kill "$send_pid" 2>/dev/null || true
    [[ -z $server_pid ]] || kill -9 "$server_pid" 2>/dev/null || true
    if ((code != 0)); then
        echo "audit-log: failed with SEED=$seed; the server's last lines:" >&2
        tail -n 30 "$work/server.log" >&2 || true
    fi
    rm -rf "$work"
    exit "$code"
}
trap cleanup EXIT

galgo() {
    "$GALGO_BIN" "$@"
}

# Starts the server on $1, waits until it is ready, and points the tool at it.
start_server() {
    local ready=$work/data/runtime/current_config.toml
    rm -f "$ready"
    "$GALGO_BIN" server --dev --tcp "$1" --quic off --websocket off --http off \
        --data-dir "$work/data" >>"$work/server.log" 2>&1 &
    server_pid=$!
    until [[ -s $ready ]]; do
        kill -0 "$server_pid"
        sleep 0.02
    done
    address=$(sed -n '/^\[tcp\]/,/^\[/s/^address = "\(.*\)"/\1/p' "$ready")
    export GALGO_SERVER=galgo://$address
}

# Sends the events; lines that the acknowledgement log lists are not sent again.
send_events() {
    "$GALGO_BIN" send audit packages "$work/events.log" --key-field 4 --batch 100 \
        --ack-log "$work/acked.log"
}

echo "== events: $lines lines from $log =="
python3 "$here/audit_log.py" prepare "$log" "$lines" >"$work/events.log"
head -n 2 "$work/events.log"

echo "== server =="
start_server 127.0.0.1:0
galgo ping
galgo stream create audit
galgo topic create audit packages --partitions 4

RANDOM=$seed
kill_after=$((lines * (5 + RANDOM % 60) / 100))
pause_ms=$((RANDOM % 20))
echo "== send; kill -9 once $kill_after lines are acknowledged and $pause_ms ms later (SEED=$seed) =="
: >"$work/acked.log"
send_events &
send_pid=$!
while (($(wc -l <"$work/acked.log") < kill_after)); do
    if ! kill -0 "$send_pid" 2>/dev/null; then
        echo "audit-log: the send ended before the kill" >&2
        exit 1
    fi
    sleep 0.002
done
sleep "0.$(printf '%03d' "$pause_ms")"
kill -9 "$server_pid"
{ wait "$server_pid" || true; } 2>/dev/null
if wait "$send_pid"; then
    echo "audit-log: the send was done before the kill; raise LINES_WANTED" >&2
    exit 1
fi
send_pid=
cp "$work/acked.log" "$work/acked-before-kill.log"

echo "== the same server again, on the same port; send the rest =="
start_server "$address"
send_events

echo "== replay from the start =="
galgo tail audit packages --from start --format json >"$work/replay.jsonl"
kill -TERM "$server_pid"
wait "$server_pid"
server_pid=
python3 "$here/audit_log.py" verify "$work/events.log" "$work/acked-before-kill.log" \
    "$work/acked.log" "$work/replay.jsonl"
