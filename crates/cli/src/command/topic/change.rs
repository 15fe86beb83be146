//! Changes settings of a topic and leaves all others as they are, on any server.

use galgo::Client;

use crate::command::topic::options::{self, NotSet};
use crate::command::topic::settings::TopicSettingArgs;
use crate::failure::Outcome;
use crate::noun::settings::options_of;
use crate::noun::topic::TopicPath;

/// Changes what is given. A new name, and a classic server, take a command that replaces all settings, so those that
/// were not given are read first.
pub(super) async fn change(
    client: &Client,
    path: &TopicPath,
    name: Option<String>,
    settings: TopicSettingArgs,
) -> Outcome {
    if name.is_none() {
        match options::configure(client, path, settings.clone().into_options()).await {
            Ok(()) => return Ok(()),
            Err(NotSet::Unsupported(_)) => {}
            Err(NotSet::Failed(failure)) => return Err(failure),
        }
    }
    let before = path.details(client).await?.topic;
    let name = name.unwrap_or_else(|| before.name.to_string());
    let options = settings.apply(options_of(&before));
    client.update_topic(&path.stream, &path.topic, &name, options).await?;
    Ok(())
}
