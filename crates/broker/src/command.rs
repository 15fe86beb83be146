//! One file for each noun of the protocol: what its commands do.
//!
//! The order of the checks is the protocol's: the payload is decoded, then the login is checked, then
//! the stream and topic are looked up, then the right, then everything else. A missing target is an
//! empty answer for the commands that read one entity, and an error for all others.

pub(crate) mod answer;
mod groups;
mod login;
pub(crate) mod messages;
mod offsets;
mod rescue;
mod segments;
pub(crate) mod send;
mod streams;
mod system;
mod tokens;
mod topics;
mod users;
pub(crate) mod waiting;

use galgo_wire::command::{Command, Request};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::primitive::Payload;

use self::answer::Manner;
use crate::broker::Broker;
use crate::broker::change::Acting;
use crate::outcome::{Job, Outcome, Reply, Work};
use crate::session::Session;

/// Runs a decoded request.
pub(crate) fn run(broker: &Broker, session: &mut Session, request: Request) -> Outcome {
    match request {
        Request::Ping(_) => system::ping(session),
        Request::LoginUser(command) => login::login_user(broker, session, command),
        Request::LogoutUser(_) => login::log_out(session),
        Request::GetStats(command) => system::stats(broker, session, &command),
        Request::GetClusterMetadata(command) => system::cluster(broker, session, &command),
        Request::GetMe(_) => system::me(session),
        Request::GetClient(command) => system::client(broker, session, &command),
        Request::GetClients(command) => system::clients(broker, session, &command),
        Request::GetFeatures(command) => system::features(broker, session, &command),
        Request::GetStream(command) => streams::get(broker, session, &command),
        Request::GetStreams(command) => streams::list(broker, session, &command),
        Request::CreateStream(command) => streams::create(broker, session, command),
        Request::UpdateStream(command) => streams::update(broker, session, command),
        Request::DeleteStream(command) => streams::delete(broker, session, command),
        Request::PurgeStream(command) => streams::purge(broker, session, command),
        Request::GetTopic(command) => topics::get(broker, session, &command),
        Request::GetTopics(command) => topics::list(broker, session, &command),
        Request::CreateTopic(command) => topics::create(broker, session, command, None),
        Request::CreateTopicWith(command) => topics::create_with(broker, session, command),
        Request::UpdateTopic(command) => topics::update(broker, session, command, None),
        Request::UpdateTopicWith(command) => topics::update_with(broker, session, command),
        Request::GetTopicSettings(command) => topics::settings(broker, session, &command),
        Request::GetTopicOutline(command) => topics::outline(broker, session, &command),
        Request::DeleteTopic(command) => topics::delete(broker, session, command),
        Request::PurgeTopic(command) => topics::purge(broker, session, command),
        Request::CreatePartitions(command) => topics::add_partitions(broker, session, command),
        Request::DeletePartitions(command) => topics::remove_partitions(broker, session, command),
        Request::GetSnapshot(command) => system::snapshot(broker, session, command),
        Request::DeleteSegments(command) => segments::delete(broker, session, &command),
        Request::RescuePartition(command) => rescue::partition(broker, session, command),
        Request::PlanRetention(command) => segments::plan_retention(broker, session, command),
        Request::ConfigureTopic(command) => topics::configure(broker, session, command),
        Request::GetTopicConfig(command) => topics::config(broker, session, &command),
        Request::GetRetentionState(command) => segments::retention_state(broker, session, command),
        Request::ListConsumerOffsets(command) => offsets::list(broker, session, command),
        Request::PollMessages(command) => {
            messages::poll(broker, session, &command, Manner::CLASSIC)
        }
        Request::PollWaiting(command) => waiting::look(broker, session, command.into()),
        Request::PollInLife(command) => waiting::poll_in_life(broker, session, command),
        Request::FlushUnsavedBuffer(command) => messages::flush(broker, session, &command),
        Request::GetConsumerOffset(command) => offsets::get(broker, session, &command),
        Request::StoreConsumerOffset(command) => offsets::store(broker, session, &command),
        Request::StoreOffsetInLife(command) => offsets::store_in_life(broker, session, &command),
        Request::DeleteConsumerOffset(command) => offsets::delete(broker, session, &command),
        Request::LoginWithToken(command) => login::login_with_token(broker, session, &command),
        Request::GetUser(command) => users::get(broker, session, &command),
        Request::GetUsers(command) => users::list(broker, session, &command),
        Request::CreateUser(command) => users::create(broker, session, command),
        Request::DeleteUser(command) => users::delete(broker, session, command),
        Request::UpdateUser(command) => users::update(broker, session, command),
        Request::UpdatePermissions(command) => users::permissions(broker, session, command),
        Request::ChangePassword(command) => users::password(broker, session, command),
        Request::ResetPassword(command) => users::reset_password(broker, session, command),
        Request::GetTokens(command) => tokens::list(broker, session, &command),
        Request::CreateToken(command) => tokens::create(broker, session, command),
        Request::DeleteToken(command) => tokens::delete(broker, session, command),
        Request::GetConsumerGroup(command) => groups::get(broker, session, &command),
        Request::GetConsumerGroups(command) => groups::list(broker, session, &command),
        Request::CreateConsumerGroup(command) => groups::create(broker, session, command),
        Request::DeleteConsumerGroup(command) => groups::delete(broker, session, command),
        Request::JoinGroupWith(command) => groups::join_with(broker, session, &command),
        Request::JoinConsumerGroup(command) => groups::join(broker, session, &command),
        Request::LeaveConsumerGroup(command) => groups::leave(broker, session, &command),
    }
}

/// Checks the right that `command` asks for.
///
/// # Errors
/// 20, 40, 1009, 2010 or 41; see [`crate::access::rights`].
fn authorize<C: Command>(broker: &Broker, session: &Session, command: &C) -> Result<(), ErrorCode> {
    broker.catalog().authorize(session.caller().ok(), &command.right())
}

/// As [`authorize`] for a command that answers nothing when its target is missing: `false` then.
///
/// # Errors
/// 40 or 41.
fn authorize_existing<C: Command>(
    broker: &Broker,
    session: &Session,
    command: &C,
) -> Result<bool, ErrorCode> {
    match authorize(broker, session, command) {
        Ok(()) => Ok(true),
        Err(
            ErrorCode::StreamIdNotFound | ErrorCode::TopicIdNotFound | ErrorCode::ResourceNotFound,
        ) => Ok(false),
        Err(code) => Err(code),
    }
}

/// The answer with this payload.
fn payload(value: &impl Payload) -> Reply {
    let bytes = value.to_bytes();
    // On the wire both are the same; a reply without bytes needs no memory.
    if bytes.is_empty() { Reply::Empty } else { Reply::Bytes(bytes) }
}

/// Checks the right to a change, then makes it off the connection's thread; `work` answers.
fn change<C: Command + Send + 'static>(
    broker: &Broker,
    session: &Session,
    command: C,
    work: impl FnOnce(&Acting<'_>, &C) -> Result<Reply, ErrorCode> + Send + 'static,
) -> Outcome {
    // Before a thread is taken for it: a stranger costs nothing that blocks. The login is asked again under the
    // lock of the change, as it may end in between.
    match authorize(broker, session, &command) {
        Ok(()) => offload(Job::Change, move |broker, session| {
            work(&Acting::new(broker, session), &command)
        }),
        Err(code) => Outcome::done(Reply::Error(code)),
    }
}

/// Runs work that may block off the connection's thread, as a job of a kind; `work` answers.
fn offload(
    kind: impl FnOnce(Work) -> Job,
    work: impl FnOnce(&Broker, &mut Session) -> Result<Reply, ErrorCode> + Send + 'static,
) -> Outcome {
    Outcome::Offload(kind(Work::new(move |broker, session| work(broker, session).into())))
}
