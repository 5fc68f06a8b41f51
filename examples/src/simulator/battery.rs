//! A battery that lasts for some ten minutes, so that a demo sees it empty.

use super::noise::Noise;

/// What is in the battery.
#[derive(Clone, Debug)]
pub(super) struct Battery {
    /// State of charge, 0 to 1.
    pub(super) soc: f64,
    /// Current in amperes, positive while it charges.
    pub(super) amperes: f64,
    wants_charge: bool,
}

impl Battery {
    pub(super) fn new(noise: &mut Noise) -> Self {
        Self { soc: 0.5 + 0.5 * noise.unit(), amperes: 0.0, wants_charge: false }
    }

    pub(super) fn step(&mut self, seconds: f64, speed: f64, docked: bool) {
        self.amperes = if docked { CHARGE_A } else { -IDLE_A - DRIVE_A_PER_MPS * speed.abs() };
        self.soc = (self.soc + self.amperes * seconds / CAPACITY_AS).clamp(0.0, 1.0);
        self.wants_charge = self.soc < if self.wants_charge { CHARGED } else { LOW };
    }

    /// Tells whether it has to be charged, and stays so until it is.
    pub(super) fn is_charging(&self) -> bool {
        self.wants_charge
    }

    /// Returns the voltage of seven cells in row under load.
    pub(super) fn voltage(&self) -> f64 {
        7.0 * (3.2 + 0.9 * self.soc) + 0.03 * self.amperes
    }
}

const CAPACITY_AS: f64 = 2400.0;
const IDLE_A: f64 = 1.0;
const DRIVE_A_PER_MPS: f64 = 2.0;
const CHARGE_A: f64 = 20.0;
const LOW: f64 = 0.2;
const CHARGED: f64 = 0.95;
