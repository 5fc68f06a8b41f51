//! Links: how robots reach the gateway. A link is an adapter without decisions about data: frames in, frames out,
//! closed. What it needs from the gateway stands in [`port`].

pub mod broker;
pub mod mqtt;
pub mod port;
pub mod quic;
mod topics;
