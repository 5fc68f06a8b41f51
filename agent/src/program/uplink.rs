//! The count of bytes sent, as it was left.

use std::sync::Arc;

use anyhow::Context as _;
use muster_protocol::time::WallTime;

use crate::{
    spool::Disk,
    uplink::{
        Limits, Uplink,
        ledger::{self, LedgerError},
    },
};

/// Opens the count. A damaged one does not keep the agent from starting, but counts as used up for today.
pub(super) fn open(disk: &Arc<dyn Disk>, limits: Limits, wall: WallTime) -> anyhow::Result<Uplink> {
    match ledger::load(disk.as_ref()) {
        Ok(found) => Ok(Uplink::durable(limits, found)),
        Err(error @ LedgerError::Newer { .. }) => Err(error).context("open the count of bytes sent"),
        Err(error) if limits.per_day.is_none() && limits.per_month.is_none() => {
            tracing::warn!("{error}; it begins anew");
            Ok(Uplink::durable(limits, None))
        }
        Err(error) => {
            tracing::error!(
                "{error}; today only urgent samples are sent, and of this month an even pace counts as used"
            );
            Ok(Uplink::after_damage(limits, wall))
        }
    }
}
