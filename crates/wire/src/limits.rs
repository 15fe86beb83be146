//! Every bound of the protocol, by name.
//!
//! Part of INV-BOUND: a decoder compares a length with one of these before it allocates.

/// Bytes of a request header: length and command code.
pub const REQUEST_HEADER_BYTES: usize = 8;
/// Bytes of a response header: status and length.
pub const RESPONSE_HEADER_BYTES: usize = 8;
/// Largest payload of any request but SEND_MESSAGES.
pub const CONTROL_PAYLOAD_BYTES_MAX: u32 = 10 << 20;
/// Largest SEND_MESSAGES payload a server takes unless it is configured otherwise.
pub const SEND_PAYLOAD_BYTES_MAX_DEFAULT: u32 = 128 << 20;

/// Largest name of a stream, topic or group.
pub const NAME_BYTES_MAX: usize = 255;
/// Shortest username.
pub const USERNAME_BYTES_MIN: usize = 3;
/// Longest username.
pub const USERNAME_BYTES_MAX: usize = 50;
/// Shortest password.
pub const PASSWORD_BYTES_MIN: usize = 3;
/// Longest password.
pub const PASSWORD_BYTES_MAX: usize = 100;
/// Shortest name of a personal access token.
pub const TOKEN_NAME_BYTES_MIN: usize = 3;
/// Longest name of a personal access token.
pub const TOKEN_NAME_BYTES_MAX: usize = 30;
/// Longest secret on the wire: a password to be checked, or the text of a token.
pub const SECRET_BYTES_MAX: usize = 255;
/// Longest text with a four-byte length (versions, host names, addresses).
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// Largest encoded permissions of one user.
pub const PERMISSIONS_BYTES_MAX: u32 = 1 << 20;

/// Bytes in front of each message: checksum, ids, times and lengths.
pub const MESSAGE_HEADER_BYTES: usize = 64;
/// Largest payload of one message.
pub const MESSAGE_PAYLOAD_BYTES_MAX: u32 = 64_000_000;
/// Largest block of user headers of one message.
pub const USER_HEADERS_BYTES_MAX: u32 = 100_000;
/// Largest key or value of one user header.
pub const USER_HEADER_FIELD_BYTES_MAX: usize = 255;
/// What sealing adds to a stored message: a nonce of 12 bytes and a tag of 16.
pub const SEALED_EXTRA_BYTES: u32 = 28;
/// Largest payload of a sealed message, which holds the user headers too.
pub const SEALED_PAYLOAD_BYTES_MAX: u32 =
    MESSAGE_PAYLOAD_BYTES_MAX + USER_HEADERS_BYTES_MAX + SEALED_EXTRA_BYTES;
/// Bytes of one entry of the index block of a sent batch.
pub const INDEX_ENTRY_BYTES: usize = 16;
/// Largest message there can be, header and user headers included.
pub const MESSAGE_BYTES_MAX: u32 =
    MESSAGE_HEADER_BYTES as u32 + MESSAGE_PAYLOAD_BYTES_MAX + USER_HEADERS_BYTES_MAX;
/// Bytes in front of the messages of a poll response.
pub const POLLED_HEADER_BYTES: usize = 16;
/// Bytes in front of the messages of a response to a poll that tells the partition's life.
pub const LIFE_HEADER_BYTES: usize = 80;
/// Most bytes of messages in the answer to a classic poll: with the header in front of them, what a signed
/// length of 32 bits can say. Classic clients read any length, into arrays that in several languages
/// end there.
pub const POLL_BYTES_MAX: u32 = i32::MAX as u32 - POLLED_HEADER_BYTES as u32;
/// Longest messages key of a keyed send.
pub const MESSAGES_KEY_BYTES_MAX: usize = 255;
/// Largest metadata of a SEND_MESSAGES payload: two identifiers, a partitioning and the count.
pub const SEND_METADATA_BYTES_MAX: usize = 3 * (2 + 255) + 4;

/// Most partitions one command may create.
pub const PARTITIONS_PER_COMMAND_MAX: u32 = 1_000;

const _: () = assert!(
    MESSAGE_BYTES_MAX as usize + SEND_METADATA_BYTES_MAX + 4 + INDEX_ENTRY_BYTES
        <= SEND_PAYLOAD_BYTES_MAX_DEFAULT as usize,
    "the default limit of a send takes any single message"
);
const _: () = assert!(MESSAGE_BYTES_MAX < POLL_BYTES_MAX, "an answer takes any single message");
const _: () = assert!(PERMISSIONS_BYTES_MAX < CONTROL_PAYLOAD_BYTES_MAX);
const _: () = assert!(TEXT_BYTES_MAX < CONTROL_PAYLOAD_BYTES_MAX as usize);
const _: () =
    assert!(PASSWORD_BYTES_MAX <= SECRET_BYTES_MAX && USERNAME_BYTES_MAX <= NAME_BYTES_MAX);

// A text that its length cannot tell would lose its end on the wire, and all behind it would be read from the wrong
// place.
const _: () = assert!(NAME_BYTES_MAX <= u8::MAX as usize, "a name's length is one byte");
const _: () = assert!(SECRET_BYTES_MAX <= u8::MAX as usize, "a secret's length is one byte");
const _: () = assert!(TOKEN_NAME_BYTES_MAX <= NAME_BYTES_MAX, "a token's name is a name");
const _: () = assert!(
    USERNAME_BYTES_MIN <= USERNAME_BYTES_MAX
        && PASSWORD_BYTES_MIN <= PASSWORD_BYTES_MAX
        && TOKEN_NAME_BYTES_MIN <= TOKEN_NAME_BYTES_MAX,
    "there are names and passwords within the bounds"
);
const _: () = assert!(TEXT_BYTES_MAX >= NAME_BYTES_MAX, "any name may be told as a text");
const _: () = assert!(
    CONTROL_PAYLOAD_BYTES_MAX < SEND_PAYLOAD_BYTES_MAX_DEFAULT,
    "a server's largest requests are sends"
);
const _: () = assert!(
    2 * (1 + 4 + USER_HEADER_FIELD_BYTES_MAX) <= USER_HEADERS_BYTES_MAX as usize,
    "a message takes at least one user header of any size"
);
const _: () = assert!(
    SEND_METADATA_BYTES_MAX
        == 2 * (2 + NAME_BYTES_MAX) + (2 + MESSAGES_KEY_BYTES_MAX) + size_of::<u32>(),
    "what is in front of a batch is bounded by the bounds of its parts"
);
const _: () = assert!(
    POLL_BYTES_MAX as u64 + LIFE_HEADER_BYTES as u64 <= u32::MAX as u64,
    "the length of any answer to a poll has 32 bits"
);
const _: () = assert!(
    POLLED_HEADER_BYTES < LIFE_HEADER_BYTES,
    "the header that tells the life begins with the one of any poll"
);

const _: () = assert!(
    SEALED_PAYLOAD_BYTES_MAX < u32::MAX - MESSAGE_HEADER_BYTES as u32,
    "the length of a sealed message has 32 bits, as that of any other"
);
const _: () = assert!(
    REQUEST_HEADER_BYTES == 2 * size_of::<u32>() && RESPONSE_HEADER_BYTES == 2 * size_of::<u32>(),
    "a header is a length, and a code or a status"
);

/// How long the SDK's producer tries to have a message acknowledged, unless told otherwise, in seconds.
pub const DELIVERY_SECONDS_DEFAULT: u64 = 120;
/// Messages the SDK's producer has in flight at most, unless told otherwise: 8 batches of 1,000.
pub const PRODUCER_MESSAGES_IN_FLIGHT_DEFAULT: u32 = 8 * 1_000;
/// How long a partition with deduplication remembers an id unless the server is configured otherwise.
pub const DEDUPLICATION_SECONDS_DEFAULT: u64 = 300;
/// Ids a partition with deduplication remembers unless the server is configured otherwise.
pub const DEDUPLICATION_ENTRIES_DEFAULT: u32 = 100_000;

const _: () = assert!(
    2 * DELIVERY_SECONDS_DEFAULT < DEDUPLICATION_SECONDS_DEFAULT,
    "what a producer sends again for the last time is still known"
);
const _: () = assert!(
    12 * PRODUCER_MESSAGES_IN_FLIGHT_DEFAULT < DEDUPLICATION_ENTRIES_DEFAULT,
    "a dozen producers may send to one partition"
);
