//! What a server has and tells: the types of what the calls of a [`Client`](crate::Client) return and take.
//!
//! They are the protocol's own, and here one by one, so that what else the protocol has may change without a new
//! version of the SDK.

pub use galgo_wire::command::extensions::{
    DeduplicationWindow, FeatureFlags, PlannedSegment, RetentionPlan, RetentionReason,
    RetentionRules, TopicOutline, TopicSettings,
};
pub use galgo_wire::command::groups::{ConsumerGroup, ConsumerGroupDetails, GroupMember};
pub use galgo_wire::command::offsets::ConsumerOffset;
pub use galgo_wire::command::rescue::{PartitionRescue, RescueOutcome};
pub use galgo_wire::command::retention::{RetentionState, StoredOffset};
pub use galgo_wire::command::streams::{Stream, StreamDetails};
pub use galgo_wire::command::system::{
    CacheMetrics, Client, ClientDetails, ClusterMetadata, ClusterNode, Endpoints, Membership,
    NodeRole, NodeStatus, Stats, Transport,
};
pub use galgo_wire::command::tokens::Token;
pub use galgo_wire::command::topic_options::{ResolvedOption, TopicOption};
pub use galgo_wire::command::topics::{
    MaxTopicSize, MessageExpiry, Partition, Topic, TopicDetails,
};
pub use galgo_wire::command::users::{User, UserDetails};
pub use galgo_wire::consumer::ConsumerKind;
pub use galgo_wire::name::{GroupName, Name, StreamName, TopicName};
