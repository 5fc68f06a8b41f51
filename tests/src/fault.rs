//! Faults of the real world, done to the real programs: killed processes, bad networks, bad disks. Each ends with an
//! [`Account`] of what was put in and what came out, taken by the checker of [`facts`](crate::facts).

mod account;
pub mod damage;
#[cfg(target_os = "linux")]
pub mod disks;
pub mod kills;
pub mod storms;
mod story;
pub mod table;

pub use account::Account;
pub use story::Story;
