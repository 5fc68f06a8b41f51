//! Recorded links, as files in a folder.

use std::{fs, path::Path, sync::Arc};

use anyhow::Context as _;

use super::link::{Conditions, Delay};

/// A recorded link, both ways.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What it is called in tables.
    pub name: &'static str,
    /// From the robot.
    pub up: Conditions,
    /// To the robot.
    pub down: Conditions,
}

/// Reads all recorded links from their folder.
pub fn all(folder: &Path) -> anyhow::Result<Vec<Recorded>> {
    let mut links = vec![Recorded {
        name: "ATT LTE, driving",
        up: Conditions::traced(opportunities(&folder.join("ATT-LTE-driving-2016.up"))?),
        down: Conditions::traced(opportunities(&folder.join("ATT-LTE-driving-2016.down"))?),
    }];
    for (name, file) in ROUND_TRIPS {
        let way = Conditions::rated(RATE_OF_5G).delayed(Delay::Trace(half_round_trips(&folder.join(file))?));
        links.push(Recorded { name, up: way.clone(), down: way });
    }
    Ok(links)
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// Each line is a millisecond.
fn opportunities(file: &Path) -> anyhow::Result<Arc<[u32]>> {
    let lines = read(file)?;
    let times = lines.lines().map(|line| line.trim().parse::<u32>().context("a line is a millisecond"));
    times.collect()
}

/// Each line has the millisecond of sending and the round trip in milliseconds; half of it is each way.
fn half_round_trips(file: &Path) -> anyhow::Result<Arc<[(u32, u32)]>> {
    let lines = read(file)?;
    let pair = |line: &str| {
        let mut fields = line.split(',').map(|field| field.parse::<f64>().context("a number"));
        let (sent, rtt) = (fields.next().context("a time")??, fields.next().context("a round trip")??);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "milliseconds of minutes"
        )]
        let pair = (sent as u32, (rtt / 2.0) as u32);
        anyhow::Ok(pair)
    };
    lines.lines().skip(1).map(pair).collect()
}

const ROUND_TRIPS: [(&str, &str); 3] = [
    ("5G, urban, 30 km/h", "urban_n78_v30_100hz_01.csv"),
    ("5G, 50 km/h", "w2s_n8_v50_run01.csv"),
    ("5G with silences of 25 s", "south_n8_v10_05.csv"),
];

/// The recordings have round trips alone; the rate is that of a modest uplink.
const RATE_OF_5G: u64 = 10_000_000;
