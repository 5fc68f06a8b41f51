//! The fleet demo, and what the example programs share. `examples/README.md` is the index.

pub mod children;
pub mod clock;
pub mod fleet;
pub mod simulator;
pub mod wifi;
