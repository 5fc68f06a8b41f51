//! Wi-Fi by distance: a log-distance path loss with slow shadowing, lost below one level and back above a higher one.

use super::noise::Noise;

/// The link to the access point at the origin.
#[derive(Clone, Debug)]
pub(super) struct Radio {
    rssi_dbm: f64,
    shadow: f64,
    up: bool,
}

impl Default for Radio {
    fn default() -> Self {
        Self { rssi_dbm: NEAR_DBM, shadow: 0.0, up: true }
    }
}

impl Radio {
    pub(super) fn step(&mut self, (x, y): (f64, f64), noise: &mut Noise) {
        self.shadow = 0.995 * self.shadow + 0.1 * noise.gauss();
        self.rssi_dbm = NEAR_DBM - 10.0 * PATH_LOSS * x.hypot(y).max(1.0).log10() + self.shadow;
        self.up = self.rssi_dbm > if self.up { LOST_DBM } else { BACK_DBM };
    }

    pub(super) fn is_up(&self) -> bool {
        self.up
    }

    /// Returns the strength of the signal.
    pub(super) fn rssi_dbm(&self) -> f64 {
        self.rssi_dbm
    }
}

/// At one metre.
const NEAR_DBM: f64 = -38.0;
/// The exponent of a hall with shelves.
const PATH_LOSS: f64 = 3.0;
const LOST_DBM: f64 = -83.5;
const BACK_DBM: f64 = -82.5;
