//! The agent's table of keys.

use std::path::PathBuf;

use muster_protocol::{
    glob::Glob,
    id::{Lane, RobotId},
    label::Labels,
    settings::{Key, Kind, LogFormat, Program, Size, Span},
};

use super::{AbsentValues, DEFAULT_GATEWAY, Every, GatewayUrl, Input, Percent, Unit, channel::ChannelRule};

/// The agent's name, prefix and keys.
pub static PROGRAM: Program = Program { name: "muster-agent", env_prefix: "MUSTER_AGENT_", keys: KEYS };

const KEYS: &[Key] = &[
    Key::new::<RobotId>("robot", Kind::Text, "Who this robot is: FLEET/ROBOT, as in warehouse/r17.")
        .required("say who this robot is with --robot FLEET/ROBOT, as in --robot warehouse/r17"),
    Key::new::<Vec<GatewayUrl>>(
        "gateway",
        Kind::List,
        "Ways to the gateway, tried in order: quic://HOST:PORT, mqtt://HOST:PORT or mqtts://HOST:PORT.",
    )
    .or(DEFAULT_GATEWAY),
    Key::new::<PathBuf>(
        "ca",
        Kind::Text,
        "The certificates (PEM file) to trust, for quic and mqtts; a gateway's own is DATA/ca.pem.",
    ),
    Key::new::<Vec<Input>>(
        "input",
        Kind::List,
        "Where samples come from: host, stdin, file:PATH[?speed=N][&shift=now], unix:PATH or udp:IP:PORT.",
    )
    .or(""),
    Key::new::<bool>("once", Kind::Flag, "Stop when every input has ended and everything is acknowledged.")
        .or("false"),
    Key::new::<PathBuf>(
        "spool.dir",
        Kind::Text,
        "The folder in which samples are kept until they are acknowledged.",
    )
    .or("./muster-spool"),
    Key::new::<Size>(
        "spool.limit",
        Kind::Size,
        "The most that the spool holds; beyond it the oldest goes, bulk first.",
    )
    .or("1GiB")
    .within("1MiB", "1024TiB"),
    Key::new::<Size>(
        "spool.memory_limit",
        Kind::Size,
        "The most that is kept in memory while the spool's disk fails; beyond it the oldest is lost.",
    )
    .or("8MiB")
    .within("1MiB", "1GiB"),
    Key::new::<Size>("spool.segment_size", Kind::Size, "The size at which a new segment file is begun.")
        .or("4MiB")
        .within("128KiB", "256MiB"),
    Key::new::<Span>(
        "spool.sync_every",
        Kind::Span,
        "How long samples may wait for a sync to disk; urgent ones never do.",
    )
    .or("250ms")
    .within("1ms", "1m"),
    Key::new::<Span>(
        "batch.linger",
        Kind::Span,
        "How long a batch waits for more samples; urgent ones do not wait.",
    )
    .or("250ms")
    .within("1ms", "1m"),
    Key::new::<u32>(
        "sample.array_elements_max",
        Kind::Count,
        "The most elements of an array; longer ones are refused.",
    )
    .or("64")
    .within("1", "4096"),
    Key::new::<Span>(
        "link.heartbeat_every",
        Kind::Span,
        "How often the gateway hears from an agent with nothing to send.",
    )
    .or("15s")
    .within("1s", "40s"),
    Key::new::<Span>(
        "link.ack_timeout",
        Kind::Span,
        "How long a batch waits for its acknowledgement before it is sent again.",
    )
    .or("10s")
    .within("100ms", "10m"),
    Key::new::<Span>("link.backoff_min", Kind::Span, "The first wait before connecting again.")
        .or("500ms")
        .within("10ms", "1h"),
    Key::new::<Span>("link.backoff_max", Kind::Span, "The longest wait before connecting again.")
        .or("30s")
        .within("10ms", "1h"),
    Key::new::<Span>(
        "link.return_spread",
        Kind::Span,
        "The range of the first wait after the gateway ended a session: 10s suits 10,000 robots.",
    )
    .or("10s")
    .within("10ms", "1h"),
    Key::new::<Size>(
        "uplink.bytes_per_second",
        Kind::Size,
        "The most that is sent in a second, with all overhead; none for no limit.",
    )
    .within("1kB", "1TB"),
    Key::new::<Size>(
        "uplink.bytes_per_day",
        Kind::Size,
        "The most that is sent in a day of UTC, with all overhead; none for no limit.",
    )
    .within("100kB", "1000TB"),
    Key::new::<Size>(
        "uplink.bytes_per_month",
        Kind::Size,
        "The most that is sent in a month of UTC, with all overhead; none for no limit.",
    )
    .within("1MB", "1000TB"),
    Key::new::<Percent>(
        "uplink.urgent_reserve",
        Kind::Text,
        "What of each uplink limit is kept for urgent samples, 0% to 90%.",
    )
    .or("10%"),
    Key::new::<Every>(
        "self.every",
        Kind::Span,
        "How often the agent's own figures, muster.agent.*, are recorded; none for never.",
    )
    .or("60s")
    .within("1s", "1h"),
    Key::new::<LogFormat>("log.format", Kind::Text, "The form of the logs on stderr: human or json.")
        .or("human"),
    Key::new::<Labels>(
        "labels",
        Kind::Map,
        "What the robot is called by, as in site = \"berlin\"; an operator's label of the same name wins.",
    )
    .or(""),
    Key::new::<Vec<ChannelRule>>(
        "channel",
        Kind::Tables(CHANNEL_KEYS),
        "What is declared of channels. The first rule that matches one and says something decides.",
    )
    .or("[]"),
];

/// The keys of one `[[channel]]`.
const CHANNEL_KEYS: &[Key] = &[
    Key::new::<Glob>("match", Kind::Text, "Which channels; * is any text and ? one character.")
        .required("say which channels, as in match = \"battery.*\""),
    Key::new::<Lane>("lane", Kind::Text, "urgent, live or bulk, where the sample itself names none."),
    Key::new::<Unit>("unit", Kind::Text, "The unit, as in \"V\", where the sample itself names none."),
    Key::new::<Span>("interval", Kind::Span, "How often a sample is expected.").within("1us", "365d"),
    Key::new::<bool>("on_change", Kind::Flag, "Whether samples come only when the value changes."),
    Key::new::<AbsentValues>(
        "absent",
        Kind::Values,
        "What the source writes where it has no value, as in [-1, nan, \"n/a\"]: such samples are left out, and counted.",
    ),
];
