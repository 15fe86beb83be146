//! Callers with one permission each, and what the table says of them.

use galgo_wire::permission::{
    GlobalPermissions, Permissions, StreamFlags, StreamPermissions, TopicPermissions,
};
use galgo_wire::{ErrorCode, StreamId, TopicId};

use super::cases::Case;
use super::table::{Asks, Flags, asks};

/// The one flag a caller has.
#[derive(Clone, Copy, Debug)]
pub enum Held {
    Nothing,
    Global(usize),
    /// At the stream that the cases are about, or at another one.
    Stream(usize, StreamId),
    /// At the topic that the cases are about, or at another one.
    Topic(usize, (StreamId, TopicId)),
}

const HERE: (StreamId, TopicId) = (StreamId::new(0), TopicId::new(0));
const ELSEWHERE: [(StreamId, TopicId); 2] =
    [(StreamId::new(0), TopicId::new(1)), (StreamId::new(1), TopicId::new(0))];

impl Held {
    /// Each flag of each column alone, at the right place and at others.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::Nothing];
        all.extend((0..GlobalPermissions::NAMES.len()).map(Self::Global));
        for flag in 0..StreamFlags::NAMES.len() {
            all.extend([0, 1].map(|stream| Self::Stream(flag, StreamId::new(stream))));
        }
        for flag in 0..TopicPermissions::NAMES.len() {
            all.push(Self::Topic(flag, HERE));
            all.extend(ELSEWHERE.map(|place| Self::Topic(flag, place)));
        }
        all
    }

    pub fn permissions(self) -> Option<Permissions> {
        let mut held = Permissions::default();
        match self {
            Self::Nothing => return None,
            Self::Global(flag) => held.global = GlobalPermissions::from_array(only(flag)),
            Self::Stream(flag, stream) => {
                let flags = StreamFlags::from_array(only(flag));
                let permissions = StreamPermissions { flags, ..StreamPermissions::default() };
                held.streams.insert(stream, permissions);
            }
            Self::Topic(flag, (stream, topic)) => {
                let mut permissions = StreamPermissions::default();
                permissions.topics.insert(topic, TopicPermissions::from_array(only(flag)));
                held.streams.insert(stream, permissions);
            }
        }
        Some(held)
    }

    fn allows(self, flags: &Flags) -> bool {
        match self {
            Self::Nothing => false,
            Self::Global(flag) => flags.global.contains(&GlobalPermissions::NAMES[flag]),
            Self::Stream(flag, stream) => {
                stream == HERE.0 && flags.stream.contains(&StreamFlags::NAMES[flag])
            }
            Self::Topic(flag, place) => {
                place == HERE && flags.topic.contains(&TopicPermissions::NAMES[flag])
            }
        }
    }
}

fn only<const N: usize>(flag: usize) -> [bool; N] {
    std::array::from_fn(|index| index == flag)
}

/// What a request of a caller who holds this comes to.
pub fn expected(case: &Case, held: Held) -> Result<(), ErrorCode> {
    let allowed = match asks(case.code.as_u32()) {
        Asks::Nothing | Asks::Login => true,
        Asks::FlagsFirst(flags) => held.allows(&flags),
        Asks::TargetFirst(flags) => case.missing.hides_rights() || held.allows(&flags),
    };
    if allowed { case.allowed } else { Err(ErrorCode::Unauthorized) }
}
