//! Which channels say where a robot is, how full its battery is, what it runs and how it is.
//!
//! Nothing of this is folded: a mapping is configuration, and what it names is read from the robot's channels when
//! somebody asks. So a changed mapping needs no new log, and what is read is as old as the channel that it comes from
//! and says so. Several channels may say the same; the first that is not stale is taken, and if all are, the first that
//! is there.
//!
//! Reading costs a lookup by name for each channel that is mapped, whatever else the robot sends.

mod reading;
mod source;
#[cfg(test)]
mod tests;
mod threshold;

pub use reading::{Battery, Pose, Position, Seen, Version};
pub use source::{Frame, Heading, ParseSourceError, Source};
pub use threshold::{Bounds, Said, SaidBy, Threshold};

/// Everything that is mapped. Of each list, the earlier goes before the later.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    /// Where a robot is on earth.
    pub positions: Vec<PositionSource>,
    /// Where it is on a map.
    pub poses: Vec<PoseSource>,
    /// How full its battery is.
    pub batteries: Vec<BatterySource>,
    /// The version of its software.
    pub versions: Vec<Source>,
    /// How it says that it is.
    pub healths: Vec<Source>,
    /// What its values are judged by.
    pub thresholds: Vec<Threshold>,
}

/// Channels that together say a place in WGS 84.
#[derive(Clone, Debug, PartialEq)]
pub struct PositionSource {
    /// Degrees, north is positive.
    pub latitude: Source,
    /// Degrees, east is positive.
    pub longitude: Source,
    /// Metres.
    pub altitude: Option<Source>,
}

/// Channels that together say a place on a map.
#[derive(Clone, Debug, PartialEq)]
pub struct PoseSource {
    /// Metres.
    pub x: Source,
    /// Metres.
    pub y: Source,
    /// From the x axis towards the y axis, in radians.
    pub heading: Option<Heading>,
    /// The map's name.
    pub frame: Option<Frame>,
}

/// Channels that speak of one battery.
#[derive(Clone, Debug, PartialEq)]
pub struct BatterySource {
    /// From 0 to 1.
    pub charge: Source,
    /// True, 1 or `charging` while it charges; all else says that it does not.
    pub charging: Option<Source>,
}
