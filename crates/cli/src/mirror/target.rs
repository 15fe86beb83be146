//! Makes the topic that is copied to, like the one that is copied from.

use galgo::model::Topic;
use galgo::{CallError, Deduplication, ErrorCode, Identifier, TopicOptions};

use crate::failure::{Failure, Outcome};
use crate::mirror::side::Side;
use crate::noun::settings;
use crate::noun::stream::{self, shown};
use crate::output::measure;

/// Sees to it that the target exists and has the partitions of the source; tells whether it was made.
pub(crate) async fn prepare(source: &Side, target: &Side) -> Outcome<bool> {
    let from = source.path.details(&source.client).await?.topic;
    let (client, path) = (&target.client, &target.path);
    if client.stream(&path.stream).await?.is_none() {
        let Identifier::Named(name) = &path.stream else {
            return Err(stream::missing(&path.stream));
        };
        client.create_stream(name.as_ref()).await?;
    }
    let Some(to) = client.topic(&path.stream, &path.topic).await? else {
        create(source, target, &from).await?;
        return Ok(true);
    };
    refuse_itself(source, target, &from).await?;
    if to.topic.partitions_count == from.partitions_count {
        return Ok(false);
    }
    Err(Failure::usage(format!(
        "cannot copy partition by partition: {} has {}, {} has {}",
        source.path.phrase(),
        measure::counted(u64::from(from.partitions_count), "partition"),
        path.phrase(),
        measure::counted(u64::from(to.topic.partitions_count), "partition"),
    ))
    .hint("galgo partition create and delete change the number, or name a new topic"))
}

/// What the copy gets of the topic's options beyond `plain`, all that a classic server knows: those it has set, but
/// for the deduplication. Ids that come again are months apart in the source and seconds apart in its copy.
async fn carried(source: &Side, plain: &TopicOptions) -> Outcome<Vec<TopicOptions>> {
    let (client, path) = (&source.client, &source.path);
    let mut durable = plain.clone();
    let mut all = plain.clone();
    if let Some(settings) = settings::settings(client, path).await? {
        if let Some(durability) = settings.durability {
            durable = durable.durability(durability);
        }
        all = durable.clone().deduplication(Deduplication::Off);
    }
    let known = all.clone();
    for option in settings::options(client, path).await?.unwrap_or_default() {
        if !option.default && option.name != "deduplication" {
            all = all.set(&option.name, &option.value);
        }
    }
    Ok(vec![all, known, durable, plain.clone()])
}

async fn create(source: &Side, target: &Side, from: &Topic) -> Outcome {
    let (client, path) = (&target.client, &target.path);
    let Identifier::Named(name) = &path.topic else {
        return Err(Failure::missing(path.phrase(), ErrorCode::TopicIdNotFound)
            .hint(format!("galgo topic list {} shows those there are", shown(&path.stream))));
    };
    let name = name.to_string();
    let plain = settings::options_of(from);
    let mut candidates = carried(source, &plain).await?;
    candidates.dedup();
    let mut candidates = candidates.into_iter().peekable();
    let mut created = Ok(());
    while let Some(options) = candidates.next() {
        created = client.create_topic(&path.stream, &name, options).await.map(drop);
        // A classic server has none of it, and an older one does not know each option.
        let knows_less = created.as_ref().is_err_and(|error| {
            matches!(error, CallError::Unsupported(_))
                || error.code() == Some(ErrorCode::InvalidFormat)
        });
        if !knows_less || candidates.peek().is_none() {
            break;
        }
    }
    match created {
        Ok(()) => Ok(()),
        Err(error) if error.code() == Some(ErrorCode::InvalidTopicSize) => {
            Err(Failure::from(error).hint("create the topic by hand with a larger --max-size"))
        }
        Err(error) => Err(error.into()),
    }
}

/// A topic that is copied to itself would grow without end.
async fn refuse_itself(source: &Side, target: &Side, from: &Topic) -> Outcome {
    if source.client.address() != target.client.address() {
        return Ok(());
    }
    let to = target.path.details(&target.client).await?.topic;
    let streams = (
        source.client.stream(&source.path.stream).await?.map(|details| details.stream.id),
        target.client.stream(&target.path.stream).await?.map(|details| details.stream.id),
    );
    if streams.0 == streams.1 && from.id == to.id {
        return Err(Failure::usage(format!("{} cannot be copied to itself", source.path.phrase())));
    }
    Ok(())
}
