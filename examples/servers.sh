# What the examples of pipelines share: servers that are started for them, and ended with them. Sourced, not run.
#
# Needs `galgo` (GALGO_BIN, or target/release/galgo, which is built when missing) and the servers that an example asks for, as
# Debian installs them. All of it listens on 127.0.0.1 and has its data in $work, which is removed at the end.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ -z ${GALGO_BIN:-} ]]; then
    GALGO_BIN=$root/target/release/galgo
    [[ -x $GALGO_BIN ]] || cargo build --release --manifest-path "$root/Cargo.toml"
fi
work=$(mktemp -d)
chmod 755 "$work"
started=()
ends=()

clean_up() {
    local code=$? end
    for end in "${ends[@]}"; do eval "$end" >/dev/null 2>&1 || true; done
    for pid in "${started[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if ((code != 0)); then
        echo "$(basename "$PWD"): failed; the last lines of the logs:" >&2
        tail -n 15 "$work"/*.log >&2 || true
    fi
    rm -rf "$work"
    exit "$code"
}
trap clean_up EXIT

galgo() {
    "$GALGO_BIN" "$@"
}

# Waits for a command to succeed.
until_true() {
    local what=$1 tries
    shift
    for ((tries = 0; tries < 600; tries++)); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    echo "waited too long: $what" >&2
    return 1
}

# A port that nobody listens on.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Starts the server and points the tool at it.
start_galgo() {
    local ready=$work/galgo/runtime/current_config.toml
    # The program itself, not a shell that runs it: it is what is killed.
    "$GALGO_BIN" server --dev --tcp 127.0.0.1:0 --quic off --websocket off --http off --data-dir "$work/galgo" \
        >"$work/galgo.log" 2>&1 &
    started+=($!)
    until_true 'galgo is ready' test -s "$ready"
    GALGO_SERVER=galgo://$(sed -n '/^\[tcp\]/,/^\[/s/^address = "\(.*\)"/\1/p' "$ready")
    export GALGO_SERVER
}

# Runs a program as the user a server wants, where that is not who we are.
as_user() {
    local user=$1
    shift
    if ((EUID == 0)); then runuser -u "$user" -- "$@"; else "$@"; fi
}

# Starts a PostgreSQL with an empty database, and sets what psql needs to find it.
start_postgres() {
    local programs data=$work/postgres
    programs=$(compgen -G '/usr/lib/postgresql/*/bin' | tail -n 1)
    export PGHOST=127.0.0.1 PGUSER=postgres PGDATABASE=postgres PGPORT
    PGPORT=$(free_port)
    mkdir "$data"
    ((EUID != 0)) || chown postgres "$data"
    as_user postgres "$programs/initdb" -D "$data/data" -U postgres -A trust --no-sync -E UTF8 --locale=C.UTF-8 \
        >"$work/postgres.log"
    as_user postgres "$programs/pg_ctl" -D "$data/data" -w -l "$data/log" \
        -o "-p $PGPORT -h 127.0.0.1 -k $data -c wal_level=logical -c shared_buffers=16MB" start >>"$work/postgres.log"
    ends+=("as_user postgres '$programs/pg_ctl' -D '$data/data' -m immediate stop")
}

# Says statements to PostgreSQL.
sql() {
    psql -X -q -A -t -v ON_ERROR_STOP=1 -c "$1"
}

# Starts a RabbitMQ, at $rabbitmq_port.
start_rabbitmq() {
    local folder=$work/rabbitmq
    rabbitmq_port=$(free_port)
    mkdir "$folder"
    printf 'listeners.tcp.1 = 127.0.0.1:%d\n' "$rabbitmq_port" >"$folder/rabbitmq.conf"
    echo '[].' >"$folder/plugins"
    ((EUID != 0)) || chown -R rabbitmq "$folder"
    rabbitmq_environment=(
        PATH="$PATH" RABBITMQ_NODENAME="t$rabbitmq_port@localhost" RABBITMQ_MNESIA_BASE="$folder/mnesia"
        RABBITMQ_LOG_BASE="$folder/log" RABBITMQ_CONFIG_FILE="$folder/rabbitmq.conf"
        RABBITMQ_ENABLED_PLUGINS_FILE="$folder/plugins" RABBITMQ_PID_FILE="$folder/pid"
        RABBITMQ_DIST_PORT="$(free_port)" ERL_EPMD_PORT="$(free_port)" ERL_EPMD_ADDRESS=127.0.0.1
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1} +S 1:1'
    )
    env -i "${rabbitmq_environment[@]}" rabbitmq-server >"$work/rabbitmq.log" 2>&1 &
    started+=($!)
    # Its virtual machine and the directory of nodes outlive the script that started them.
    ends+=('kill -9 "$(cat "$work/rabbitmq/pid")"' 'env -i "${rabbitmq_environment[@]}" epmd -kill')
    until_true 'RabbitMQ listens' bash -c "exec 3<>/dev/tcp/127.0.0.1/$rabbitmq_port"
    until_true 'RabbitMQ is ready' rabbitmqctl_here await_startup
}

rabbitmqctl_here() {
    env -i "${rabbitmq_environment[@]}" rabbitmqctl "$@"
}

# Starts a pipeline in the background; its process is in $pipeline.
start_pipeline() {
    "$GALGO_BIN" connect run "$1" >>"$work/$(basename "$1" .toml).log" 2>&1 &
    pipeline=$!
    started+=("$pipeline")
    # The shell says nothing of its end then.
    disown "$pipeline"
}

# `kill -9` of a pipeline, as a crash does.
kill_pipeline() {
    kill -9 "$1"
    until_true 'the pipeline is gone' is_gone "$1"
}

is_gone() {
    ! kill -0 "$1" 2>/dev/null
}
