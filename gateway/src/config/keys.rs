//! The gateway's table of keys.

use std::path::PathBuf;

use muster_protocol::settings::{Key, Kind, LogFormat, Program, Size, Span};

use super::{BrokerUrl, ClientId, Listen};

/// The gateway's name, prefix and keys.
pub static PROGRAM: Program = Program { name: "muster-gateway", env_prefix: "MUSTER_GATEWAY_", keys: KEYS };

const KEYS: &[Key] = &[
    Key::new::<PathBuf>("data_dir", Kind::Text, "The folder of everything that the gateway keeps.")
        .or("./muster-data"),
    Key::new::<Listen>(
        "http",
        Kind::Text,
        "Where the API is served: IP:PORT, port 0 for a free one, or none.",
    )
    .or("127.0.0.1:8080"),
    Key::new::<Listen>("quic", Kind::Text, "Where agents connect over QUIC (UDP): IP:PORT or none.")
        .or("127.0.0.1:4443"),
    Key::new::<Listen>(
        "mqtt.listen",
        Kind::Text,
        "Where agents and MQTT clients connect (TCP): IP:PORT or none; short: mqtt = \"...\".",
    )
    .short_form("mqtt")
    .or("127.0.0.1:1883"),
    Key::new::<BrokerUrl>(
        "mqtt.broker.url",
        Kind::Text,
        "A broker through which robots also report: mqtt://HOST:PORT; it has to speak MQTT 5.",
    ),
    Key::new::<ClientId>(
        "mqtt.broker.client_id",
        Kind::Text,
        "The gateway's name at the broker; one of its own for each data folder if not set.",
    ),
    Key::new::<Span>(
        "mqtt.broker.keep_alive",
        Kind::Span,
        "How often the broker hears from a gateway with nothing to say.",
    )
    .or("20s")
    .within("5s", "10m"),
    Key::new::<String>("mqtt.broker.username", Kind::Text, "The gateway's user name at the broker."),
    Key::new::<PathBuf>(
        "mqtt.broker.password_file",
        Kind::Text,
        "The file whose first line is its password; read at each connection.",
    ),
    Key::new::<bool>(
        "insecure_listen",
        Kind::Flag,
        "Listen for other machines although nothing is authenticated.",
    )
    .or("false"),
    Key::new::<Size>(
        "store.partition_size",
        Kind::Size,
        "The bytes of records at which a new partition of the log is begun.",
    )
    .or("64MiB")
    .within("256KiB", "1GiB"),
    Key::new::<Size>(
        "store.retention_size",
        Kind::Size,
        "The size on disk of the log above which its oldest partition is dropped.",
    )
    .or("64GiB")
    .within("512KiB", "1024TiB"),
    Key::new::<Size>(
        "store.quota_size",
        Kind::Size,
        "The size on disk above which ingest stops; a quarter above retention_size if not set.",
    )
    .within("512KiB", "2048TiB"),
    Key::new::<Span>(
        "store.checkpoint_every",
        Kind::Span,
        "How often fleet state is saved; a start reads what came after.",
    )
    .or("30s")
    .within("1s", "1h"),
    Key::new::<Size>("commit.group_size", Kind::Size, "The most that one sync covers.")
        .or("4MiB")
        .within("64KiB", "64MiB"),
    Key::new::<Size>(
        "commit.queue_size",
        Kind::Size,
        "The most that waits for a commit; beyond it batches are refused for a moment.",
    )
    .or("64MiB")
    .within("64KiB", "4GiB"),
    Key::new::<Size>(
        "window.size",
        Kind::Size,
        "The bytes of batches that a session may have unacknowledged.",
    )
    .or("1MiB")
    .within("64KiB", "64MiB"),
    Key::new::<u32>(
        "window.batches",
        Kind::Count,
        "The number of batches that a session may have unacknowledged.",
    )
    .or("256")
    .within("1", "4096"),
    Key::new::<Span>(
        "session.silence",
        Kind::Span,
        "How long a session may be silent before its link counts as down.",
    )
    .or("45s")
    .within("5s", "1h"),
    Key::new::<u32>(
        "session.max",
        Kind::Count,
        "The most connections at once of each listener; more are turned away.",
    )
    .or("10000")
    .within("1", "1000000"),
    Key::new::<LogFormat>("log.format", Kind::Text, "The form of the logs on stderr: human or json.")
        .or("human"),
];
