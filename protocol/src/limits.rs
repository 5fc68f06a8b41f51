//! Every bound of the protocol, with its reason. What each side does at a bound stands at the type that checks it.

/// Longest fleet or robot name. Keeps topics and paths short.
pub const NAME_BYTES_MAX: usize = 63;

/// Longest `ch` of an NDJSON line.
pub const CH_BYTES_MAX: usize = 200;

/// Longest channel name after flattening, `ch` and the path into `v` together.
pub const CHANNEL_NAME_BYTES_MAX: usize = 512;

/// Longest unit of a channel.
pub const UNIT_BYTES_MAX: usize = 32;

/// Deepest nesting of `v`. A bound on recursion.
pub const VALUE_DEPTH_MAX: usize = 16;

/// Longest text or bytes value. An encoded batch has to hold at least one.
pub const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Most elements of an array in `v` by default. Longer ones are point clouds and images, not telemetry.
pub const ARRAY_ELEMENTS_MAX: usize = 64;

/// Longest NDJSON line. Longer ones are refused without being held in memory.
pub const LINE_BYTES_MAX: usize = 256 * 1024;

/// Largest row by [`Row::raw_bytes`](crate::sample::Row::raw_bytes). A row is never split, and an encoded batch of
/// one row stays below [`BATCH_BYTES_MAX`] even if nothing in it compresses.
pub const ROW_BYTES_MAX: usize = 28 * 1024;

/// Largest encoded batch, loss record or schema. A few network packets; small enough for sled and for MQTT brokers.
pub const BATCH_BYTES_MAX: usize = 32 * 1024;

/// Most rows of a batch, so that row numbers fit 16 bits and decoding has a bound.
pub const BATCH_ROWS_MAX: usize = 32 * 1024;

/// Most samples of a batch. Bounds what a decoder may be made to hold by a batch of constants.
pub const BATCH_SAMPLES_MAX: usize = 128 * 1024;

/// Largest batch body after decompression. Checked before anything is allocated.
pub const BATCH_RAW_BYTES_MAX: usize = 1024 * 1024;

/// Most groups (rows of one shape) of a batch.
pub const BATCH_GROUPS_MAX: usize = 1024;

/// Most channels of a schema.
pub const SCHEMA_CHANNELS_MAX: usize = 4096;

/// Largest schema before compression.
pub const SCHEMA_RAW_BYTES_MAX: usize = 256 * 1024;

/// Largest frame body. Above [`BATCH_BYTES_MAX`] with its envelope, below the 64 KiB that MQTT payloads keep to.
pub const FRAME_BODY_BYTES_MAX: usize = 60 * 1024;

/// Most ranges of seqs that a receiver keeps for one lane; at the bound only batches that join ranges are taken.
pub const RANGES_PER_LANE_MAX: usize = 256;

/// Most ranges in one acknowledgement.
pub const RANGES_PER_ACK_MAX: usize = 256;

/// Most (epoch, lane) pairs that a Hello may list. Older epochs drain before newer ones, so few are alive at once.
pub const HELD_LANES_MAX: usize = 192;

/// Most ranges, all lanes together, by which a Hello or heartbeat says what is gone between what is held.
pub const GONE_RANGES_MAX: usize = 1024;

/// Most drained lanes that a Hello lists: those of the last sixteen runs of an agent that used every lane.
pub const DRAINED_LANES_MAX: usize = 48;

/// Longest name of a label. Keeps tables and queries readable.
pub const LABEL_KEY_BYTES_MAX: usize = 63;

/// Longest value of a label. A sentence, not a document: labels come with every Hello and are kept for each robot.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;

/// Most labels of a robot from one source. The longest of them fit a Hello beside everything else, and a record.
pub const LABELS_MAX: usize = 64;

/// Most lost batches that one loss record lists.
pub const LOST_SEQS_MAX: usize = 2048;

/// Most ranges of one [`Absence`](crate::loss::Absence), so that its record fits where a batch does.
pub const ABSENT_RANGES_MAX: usize = 1024;
