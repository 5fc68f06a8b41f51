//! Noise from a seed: `SplitMix64` (Steele, Lea, Flood 2014), summed up to something close to a normal distribution.

/// A stream of noise.
#[derive(Clone, Debug)]
pub(super) struct Noise {
    state: u64,
}

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns a number in 0.0..1.0, each equally likely.
    pub(super) fn unit(&mut self) -> f64 {
        self.bits() as f64 / 2.0_f64.powi(64)
    }

    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Returns noise of mean 0 and variance 1, never beyond 6.
    pub(super) fn gauss(&mut self) -> f64 {
        const TERMS: u32 = 12;
        (0..TERMS).map(|_| self.unit()).sum::<f64>() - f64::from(TERMS) / 2.0
    }
}
