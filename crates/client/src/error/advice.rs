//! What a reader of an error can do next, by the server's code.

/// The next step for `number`, when there is one to name.
pub(super) fn advice(number: u32) -> Option<&'static str> {
    Some(match number {
        3 => "the server does not know this request; it may be an older version",
        30 | 100 => "the server dropped this connection; connect again",
        40 => "log in first, or give user and password in the connection string",
        41 => "ask an administrator for the right to do this",
        42 => "check user name and password",
        43 => "a user name has 3 to 50 bytes",
        44 => "a password has 3 to 100 bytes",
        47 => "the user is inactive; an administrator can activate it",
        50 => "a token name has 3 to 30 bytes",
        53 | 54 => "create a new token",
        1009 => "list the streams to see what exists, or create it",
        1012 => "choose another name or use the existing stream",
        1019 => "give at least the size of a segment, or 0 for the default",
        2010 => "list the topics of the stream to see what exists, or create it",
        2013 => "choose another name or use the existing topic",
        2015 => "give 1 to 1000 partitions",
        2019 => "the topic has fewer partitions than that",
        3007 => "partitions are numbered from 0; look at the topic to see how many it has",
        3021 => "nothing is stored for this consumer",
        4006 => "the log of the server says why; its disk may be full",
        4009 => "give at least one message",
        4017 => "the user headers of one message may have 100000 bytes",
        4022 => "one message may have 64000000 bytes",
        4100 => "the offset is beyond the end of the partition",
        _ => return None,
    })
}
