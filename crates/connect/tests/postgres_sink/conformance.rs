//! The suite that every target keeps.

use async_trait::async_trait;
use bytes::Bytes;
use galgo_connect::conformance::{MARK, ReadBack, conformance};
use galgo_connect::{LaneName, Row};
use galgo_testkit::service::postgres::Postgres;

use crate::postgres::start;
use crate::table::spec;

struct Back<'a> {
    server: &'a Postgres,
    sql: &'static str,
}

#[async_trait]
impl ReadBack for Back<'_> {
    async fn numbers(&self, lane: &LaneName) -> Result<Vec<u64>, String> {
        let said = self.server.sql(&self.sql.replace("LANE", &lane.to_string()));
        Ok(said.lines().map(|line| line.parse().unwrap()).collect())
    }

    fn poison(&self, row: &Row) -> Option<Bytes> {
        let text = String::from_utf8(row.payload.to_vec()).unwrap();
        Some(Bytes::from(text.replace(MARK, &format!("bad {MARK}"))))
    }
}

const COLUMNS: &str = "[columns]\nlane = { from = '.lane', type = 'text' }\n\
    number = { from = '.number', type = 'bigint' }\ntext = { from = '.text', type = 'text', null = false }";

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_added_once_and_in_order_whenever_it_is_killed() {
    let Some(server) = start(&[]) else { return };
    server.sql(
        "CREATE TABLE numbers (seq bigserial, lane text, number bigint, text text NOT NULL CHECK (text NOT LIKE 'bad%'))",
    );
    let sql = "SELECT number FROM numbers WHERE lane = 'LANE' ORDER BY seq";
    let back = Back { server: &server, sql };
    conformance(&*spec(&server, "numbers", COLUMNS), &back).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_take_the_place_of_others_once_whenever_it_is_killed() {
    let Some(server) = start(&[]) else { return };
    server.sql(
        "CREATE SCHEMA \"of ours\"; CREATE TABLE \"of ours\".numbers (lane text, number bigint, text text NOT NULL \
         CHECK (text NOT LIKE 'bad%'), PRIMARY KEY (lane, number))",
    );
    let sql = "SELECT number FROM \"of ours\".numbers WHERE lane = 'LANE' ORDER BY number";
    let back = Back { server: &server, sql };
    let upsert = format!("mode = 'upsert'\nkey = ['number', 'lane']\n{COLUMNS}");
    conformance(&*spec(&server, "of ours.numbers", &upsert), &back).await.unwrap();
}
