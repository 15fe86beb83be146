//! The walk over TCP: the status of every answer.

use galgo_wire::ErrorCode;
use galgo_wire::command::CommandCode;

use crate::cases::cases;
use crate::held::{Held, expected};
use crate::table::{Asks, asks};
use crate::wire::Wire;
use crate::world::World;

/// The number that answers a request.
fn status(answer: Result<(), ErrorCode>) -> u32 {
    answer.map_or_else(ErrorCode::as_u32, |()| 0)
}

#[test]
fn over_tcp_each_flag_alone_allows_what_the_table_says_and_nothing_else() {
    let mut world = World::new();
    let mut caller = Wire::connect(world.server.tcp());
    world.log_in(&mut caller);
    let cases = cases();
    for held in Held::all() {
        world.prepare(held);
        for case in &cases {
            let answer = caller.status(case.code.as_u32(), &case.payload);
            let (code, missing) = (case.code, case.missing);
            assert_eq!(answer, status(expected(case, held)), "{code:?}, {missing:?}, {held:?}");
            if answer != 0 {
                continue;
            }
            match code {
                CommandCode::LoginUser | CommandCode::LogoutUser => world.log_in(&mut caller),
                _ => world.repair(held, code),
            }
        }
    }
}

#[test]
fn over_tcp_nothing_but_a_ping_and_the_logins_is_answered_without_a_login() {
    let mut world = World::new();
    world.prepare(Held::Nothing);
    for case in cases() {
        let mut anonymous = Wire::connect(world.server.tcp());
        let answer = anonymous.status(case.code.as_u32(), &case.payload);
        let expected = match asks(case.code.as_u32()) {
            Asks::Nothing => case.allowed,
            _ => Err(ErrorCode::Unauthenticated),
        };
        assert_eq!(answer, status(expected), "{:?}, {:?}", case.code, case.missing);
        anonymous.assert_in_step();
    }
}
