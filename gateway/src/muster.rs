//! `muster`, the operator's command line: what a gateway knows, on a terminal or into a file.
//!
//! It talks to the gateway's HTTP API and to nothing else, so that everything it shows a backend can have as well. What
//! is shown is rendered by pure functions from the API's JSON; an old value never looks live, so freshness and link
//! stand beside each value. Text from a robot reaches the terminal without its control characters.

pub mod aggregate;
pub mod answer;
pub mod cli;
pub mod client;
pub mod columns;
pub mod doctor;
pub mod export;
pub mod failure;
pub mod group;
pub mod label;
pub mod losses;
pub mod mapped;
pub mod notes;
mod pages;
pub mod question;
pub mod robot;
pub mod robots;
pub mod status;
pub mod table;
pub mod times;
pub mod whole;
