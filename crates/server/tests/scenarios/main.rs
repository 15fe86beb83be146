//! One suite of scenarios, by the SDK, over every transport with and without TLS.
//!
//! What a client sees does not depend on what carries it.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod ensure;
mod groups;
mod life_cycle;
mod lives;
mod members;
mod messages;
mod place;
mod reconnect;
mod refusals;
mod system;
mod trust;
mod users;
mod waiting;

/// The tests of one transport.
macro_rules! tests {
    ($carrier:ident: $($module:ident::$scenario:ident,)*) => {$(
        #[test]
        fn $scenario() {
            crate::place::run(crate::place::Carrier::$carrier, async |place| {
                crate::$module::$scenario(place).await;
            });
        }
    )*};
}

/// Every scenario by every transport.
macro_rules! suite {
    ($($name:ident = $carrier:ident;)*) => {$(
        mod $name {
            tests! {
                $carrier:
                life_cycle::streams_and_topics_come_change_and_go,
                life_cycle::partitions_come_and_go,
                life_cycle::a_purge_leaves_nothing_but_the_topic,
                lives::readers_see_each_life_from_its_first_message,
                messages::every_strategy_reads_what_it_says,
                messages::the_largest_message_arrives_and_a_larger_one_is_refused,
                messages::offsets_are_stored_by_consumer,
                messages::a_producer_and_a_consumer_meet,
                messages::a_message_sent_again_is_stored_once_where_the_topic_asks_for_it,
                refusals::rights_that_go_and_come_leave_no_hole,
                waiting::a_poll_that_waits_is_woken_by_what_is_sent,
                waiting::a_wait_ends_with_whatever_is_asked_next,
                waiting::consumers_that_wait_get_everything_once,
                waiting::a_server_that_stops_does_not_wait,
                groups::two_members_share_a_topic,
                groups::a_member_that_goes_leaves_its_partitions_to_the_other,
                groups::what_is_not_committed_comes_again_but_not_to_the_same_member,
                groups::a_member_goes_on_after_a_purge_and_after_its_group_is_gone,
                members::members_get_their_partitions_and_give_up_some_for_one_that_joins,
                members::a_member_reads_on_after_a_restart_with_new_readers,
                members::readers_that_wait_are_woken_each_by_its_own_message,
                users::users_may_do_what_they_are_permitted,
                users::tokens_log_in_until_they_are_deleted,
                users::the_least_rights_are_enough,
                system::a_connection_knows_what_carries_it,
                system::a_snapshot_is_an_archive,
                reconnect::a_restart_of_the_server_is_survived,
                reconnect::members_of_a_group_come_back,
            }
        }
    )*};
}

suite! {
    tcp = Tcp;
    tcp_tls = TcpTls;
    tcp_mutual_tls = TcpMutualTls;
    quic = Quic;
    websocket = WebSocket;
    websocket_tls = WebSocketTls;
}
