//! Completeness, losses and conflicts as JSON.

use muster_protocol::{id::Lane, loss::LossReason, time::WallTime};
use serde_json::{Map, Value, json};

use super::{json::ms, view::Moment};
use crate::fleet::{Amount, Backlog, Completeness, Conflict, LossRecord, LossTally, Losses, LostSeqs};

impl Moment {
    /// Says how much of what a robot accepted is in the log. `whole_up_to` is a time on the gateway's clock.
    pub(super) fn completeness(self, completeness: &Completeness, losses: &Losses) -> Value {
        let on_robot = completeness.on_robot.as_ref();
        let age = |told: &Backlog| self.now.nanos_since(told.at);
        let of_robot =
            |told: &Backlog| json!({"samples": self.ints.count(told.samples), "age_ms": ms(Some(age(told)))});
        let lost = losses.tallies().map(|(reason, lane, tally)| self.tally(reason, lane, tally));
        json!({
            "standing": completeness.standing.as_str(),
            "whole_up_to": self.ints.time(completeness.whole_up_to),
            "age_ms": ms(on_robot.map(age)),
            "on_robot": on_robot.map(of_robot),
            "lost": lost.collect::<Vec<_>>(),
            "before_this_gateway": self.amount(completeness.before),
            "unknown_up_to": self.ints.count(completeness.unknown_up_to),
        })
    }

    /// Lists a robot's last losses, the newest first.
    pub(super) fn recent_losses(self, losses: &Losses) -> Value {
        losses
            .recent()
            .map(|(at, record)| {
                let mut members = self.loss(record);
                members.insert("o".to_owned(), self.ints.offset(at));
                Value::Object(members)
            })
            .collect()
    }

    /// Returns the members of one loss.
    pub(super) fn loss(self, record: &LossRecord) -> Map<String, Value> {
        let LossRecord { reason, lane, amount, seqs, times, received_at } = *record;
        let mut members = self.lost(reason, lane, amount, times);
        members.insert("seqs".to_owned(), self.seqs(seqs));
        members.insert("received_at".to_owned(), self.ints.time(Some(received_at)));
        members
    }

    /// Says who else speaks for a robot.
    pub(super) fn conflict(self, conflict: Option<&Conflict>) -> Value {
        let Some(Conflict { since, last_at, address, instance }) = conflict else { return Value::Null };
        json!({
            "since": self.ints.time(Some(*since)),
            "last_age_ms": ms(Some(self.now.nanos_since(*last_at))),
            "other": {"address": address, "instance": instance.to_string()},
        })
    }

    fn tally(self, reason: LossReason, lane: Lane, tally: &LossTally) -> Value {
        let mut members = self.lost(reason, lane, tally.amount, tally.times);
        members.insert("records".to_owned(), self.ints.count(tally.records));
        members.insert("seqs".to_owned(), self.seqs(tally.seqs));
        members.insert("last_at".to_owned(), self.ints.time(Some(tally.last_at)));
        Value::Object(members)
    }

    fn lost(
        self,
        reason: LossReason,
        lane: Lane,
        amount: Amount,
        times: Option<(WallTime, WallTime)>,
    ) -> Map<String, Value> {
        let members = [
            ("reason", reason.as_str().into()),
            ("lane", lane.as_str().into()),
            ("samples", self.ints.count(amount.samples)),
            ("batches", self.ints.count(amount.batches)),
            ("t_min", self.ints.time(times.map(|(t_min, _)| t_min))),
            ("t_max", self.ints.time(times.map(|(_, t_max)| t_max))),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn seqs(self, seqs: Option<LostSeqs>) -> Value {
        let Some(LostSeqs { epoch, first, last }) = seqs else { return Value::Null };
        let epoch =
            json!({"start": self.ints.count(epoch.start), "random": format!("{:016x}", epoch.random)});
        json!({"epoch": epoch, "first": self.ints.count(first.0), "last": self.ints.count(last.0)})
    }

    fn amount(self, amount: Amount) -> Value {
        json!({"samples": self.ints.count(amount.samples), "batches": self.ints.count(amount.batches)})
    }
}
