#!/usr/bin/env bash
# Every change of a table into a topic, and out of the topic into a copy of the table, while both pipelines are killed with
# `kill -9`. Then the copy has to be the table, row for row.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ../servers.sh
rounds=${ROUNDS:-6}

echo '== servers, and a table that is in use already =='
start_galgo
start_postgres
sql "CREATE TABLE accounts (id bigint PRIMARY KEY, owner text NOT NULL, balance numeric NOT NULL, note text)"
sql "INSERT INTO accounts SELECT n, 'owner ' || n, n * 1.10, CASE WHEN n % 50 = 0 THEN repeat(md5(n::text), 200) END
     FROM generate_series(1, 2000) n"
galgo stream create shop
for file in changes.toml mirror.toml; do
    sed "s/127.0.0.1:5432/127.0.0.1:$PGPORT/" "$file" >"$work/$file"
done
galgo connect check "$work/changes.toml"

echo "== $rounds rounds of changes, each with a kill of both pipelines =="
start_pipeline "$work/changes.toml"
changes=$pipeline
until_true 'the topic is made' galgo topic get shop changes
start_pipeline "$work/mirror.toml"
mirror=$pipeline
for ((round = 1; round <= rounds; round++)); do
    sql "BEGIN;
         UPDATE accounts SET balance = balance + $round WHERE id % 7 = $round % 7;
         DELETE FROM accounts WHERE id % 101 = $round;
         INSERT INTO accounts SELECT n, 'later ' || n, 0.01, NULL FROM generate_series($round * 10000, $round * 10000 + 200) n;
         COMMIT;
         UPDATE accounts SET owner = 'moved ' || id WHERE id % 50 = 0;"
    sleep "0.$((RANDOM % 9))"
    kill_pipeline "$changes"
    kill_pipeline "$mirror"
    start_pipeline "$work/changes.toml"
    changes=$pipeline
    start_pipeline "$work/mirror.toml"
    mirror=$pipeline
done

difference() {
    sql "SELECT count(*) FROM (
           (TABLE accounts EXCEPT SELECT id, owner, balance, note FROM accounts_copy)
           UNION ALL (SELECT id, owner, balance, note FROM accounts_copy EXCEPT TABLE accounts)) AS d"
}
is_equal() {
    [[ $(difference) == 0 ]]
}
until_true 'the copy is the table' is_equal
echo "== $(sql 'SELECT count(*) FROM accounts_copy') rows of the copy are those of the table =="

# The slot and the publication hold back the log of PostgreSQL: they go with the pipeline.
kill -TERM "$changes"
until_true 'the pipeline has stopped' is_gone "$changes"
galgo connect cleanup "$work/changes.toml" --yes
[[ $(sql 'SELECT count(*) FROM pg_replication_slots') == 0 ]]
