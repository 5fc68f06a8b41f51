//! The gateway's table of keys.

use std::path::PathBuf;

use muster_protocol::settings::{Key, Kind, LogFormat, Program, Size, Span};

use super::{BrokerUrl, ClientId, Listen, ThresholdConfig, ThresholdLevel, ThresholdName};
use crate::fleet::{Frame, Heading, Source};

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
    Key::new::<u32>(
        "robots_max",
        Kind::Count,
        "The most robots that the gateway takes in; new ones beyond it are turned away.",
    )
    .or("100000")
    .within("1", "1000000"),
    Key::new::<Span>(
        "conditions.lately",
        Kind::Span,
        "How long a condition stays after the last of what it tells of: refusals, dropped samples, full listeners.",
    )
    .or("5m")
    .within("5s", "7d"),
    Key::new::<LogFormat>("log.format", Kind::Text, "The form of the logs on stderr: human or json.")
        .or("human"),
    Key::new::<Vec<Source>>(
        "map.latitude",
        Kind::List,
        "Channels of a position, degrees north; NAME*FACTOR multiplies, here and below.",
    )
    .or("/fix.lat, /fix.latitude, fix.latitude, /gps/fix.latitude, gps.latitude, gps.lat, position.latitude, \
         vehicle_global_position.lat, latitude"),
    Key::new::<Vec<Source>>("map.longitude", Kind::List, "Degrees east, one beside each latitude.")
        .or("/fix.lon, /fix.longitude, fix.longitude, /gps/fix.longitude, gps.longitude, gps.lon, position.longitude, \
             vehicle_global_position.lon, longitude"),
    Key::new::<Vec<Source>>("map.altitude", Kind::List, "Metres, beside the latitudes; - where there is none.")
        .or("/fix.alt, /fix.altitude, fix.altitude, /gps/fix.altitude, gps.altitude, gps.alt, position.altitude, \
             vehicle_global_position.alt, altitude"),
    Key::new::<Vec<Source>>("map.x", Kind::List, "Channels of a place on a map, metres.")
        .or("pose.x, /amcl_pose.pose.pose.position.x, amcl_pose.pose.pose.position.x, /odom.pose.pose.position.x, \
             odom.pose.pose.position.x, /husky_velocity_controller/odom.px, /ardrone/odometry/raw.px, odom.x, \
             vehicle_local_position.x"),
    Key::new::<Vec<Source>>("map.y", Kind::List, "Metres, one beside each x.")
        .or("pose.y, /amcl_pose.pose.pose.position.y, amcl_pose.pose.pose.position.y, /odom.pose.pose.position.y, \
             odom.pose.pose.position.y, /husky_velocity_controller/odom.py, /ardrone/odometry/raw.py, odom.y, \
             vehicle_local_position.y"),
    Key::new::<Vec<Heading>>(
        "map.heading",
        Kind::List,
        "Radians from x towards y, beside the x; with {} for x, y, z and w, a quaternion's four channels.",
    )
    .or("pose.heading, /amcl_pose.pose.pose.orientation.{}, amcl_pose.pose.pose.orientation.{}, \
         /odom.pose.pose.orientation.{}, odom.pose.pose.orientation.{}, /husky_velocity_controller/odom.q{}, \
         /ardrone/odometry/raw.q{}, odom.heading, vehicle_local_position.yaw"),
    Key::new::<Vec<Frame>>("map.frame", Kind::List, "The map's name, beside the x: a channel, or =NAME.")
        .or("pose.map, /amcl_pose.header.frame_id, amcl_pose.header.frame_id, /odom.header.frame_id, \
             odom.header.frame_id, /husky_velocity_controller/odom.frame, /ardrone/odometry/raw.frame, =odom, =local"),
    Key::new::<Vec<Source>>("map.charge", Kind::List, "Channels of a battery's charge, 0 to 1.")
        .or("battery.soc, battery.charge, battery.percentage, /battery_state.percentage, battery_state.percentage, \
             /mavros/battery.percentage, battery_status.remaining, battery.percent*0.01, host.battery.soc"),
    Key::new::<Vec<Source>>(
        "map.charging",
        Kind::List,
        "Whether it charges, beside the charges: true, 1 or \"charging\".",
    )
    .or("battery.charging, battery.charging, battery.power_supply_status, /battery_state.power_supply_status, \
         battery_state.power_supply_status, /mavros/battery.power_supply_status, -, battery.charging, \
         host.battery.charging"),
    Key::new::<Vec<Source>>("map.version", Kind::List, "Channels of the version of a robot's software.")
        .or("software.version, software_version, version, robot.version, firmware.version"),
    Key::new::<Vec<Source>>(
        "map.health",
        Kind::List,
        "Channels of a robot's own health: ok, warn, error, stale, or 0 to 3 as in ROS diagnostics.",
    )
    .or("health, health.level, /diagnostics_toplevel_state.level, diagnostics_toplevel_state.level, \
         diagnostics.level"),
    Key::new::<Vec<ThresholdConfig>>(
        "threshold",
        Kind::Tables(THRESHOLD_KEYS),
        "What values are worth a warning. Only values that are fresh or late are judged.",
    )
    .or("[]"),
];

/// The keys of one `[[threshold]]`.
const THRESHOLD_KEYS: &[Key] = &[
    Key::new::<ThresholdName>("name", Kind::Text, "What a person calls it, as in \"low battery\".")
        .required("give it a name, as in name = \"low battery\""),
    Key::new::<Source>("channel", Kind::Text, "The channel that is judged, NAME or NAME*FACTOR.")
        .required("say which channel, as in channel = \"battery.soc\""),
    Key::new::<f64>("below", Kind::Number, "Less than this is out of bounds."),
    Key::new::<f64>("above", Kind::Number, "More than this is out of bounds."),
    Key::new::<ThresholdLevel>("level", Kind::Text, "How bad that is: warn or error; warn if not said."),
];
