//! One robot: its receive windows, its session and the schemas that its batches refer to.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use muster_protocol::{
    id::{Epoch, InstanceId, Lane, RobotId, SchemaHash, Seq},
    message::{NumberedHead, RefuseReason},
    schema::{Schema, SchemaBuilder},
    session::receiver::{Claim, Receiver},
    time::MonoTime,
};

use super::{events::Owed, labels::KnownLabels, told::LastTold};
use crate::{
    clock::Clock,
    conditions::{Moment, facts::Refused, lately::Episode},
    fleet::LiveLink,
    link::port::{Outbox, TicketIssuer, Unhandled},
    metrics::Metrics,
    record::Transport,
    sharing::shared_schema,
};

/// One robot, shared by all its connections and by the committer.
pub(super) struct Robot {
    pub(super) id: RobotId,
    state: Mutex<RobotState>,
    refused: Mutex<Refused>,
    /// Held while owed events go to the log, so that they get there in their order. Never taken under the state's lock.
    pub(super) paying: Mutex<()>,
    /// Held while a change of the operator's labels is on its way. Taken by the API alone, and never under another lock.
    pub(super) labelling: Mutex<()>,
}

/// What one lock guards. It is held for decisions only, never while anything waits.
pub(super) struct RobotState {
    pub(super) receiver: Receiver,
    pub(super) session: Option<OpenSession>,
    /// Copies of claimed records: they are handled when the claim is.
    repeats: BTreeMap<NumberedHead, Vec<TicketIssuer>>,
    /// Committed, and not yet said to the agent.
    pub(super) unsaid: BTreeSet<(Epoch, Lane, Seq)>,
    /// Whether the robot stands in the queue of acks.
    pub(super) ack_queued: bool,
    schemas: VecDeque<Arc<Schema>>,
    /// The channels that plain JSON has named.
    pub(super) json_channels: SchemaBuilder,
    /// What became of its sessions and is not in the log yet.
    pub(super) owed: Owed,
    pub(super) labels: KnownLabels,
    json_next: [Seq; 3],
}

/// The session that speaks for a robot now.
pub(super) struct OpenSession {
    pub(super) number: u64,
    /// The agent's process; `None` for plain JSON.
    pub(super) instance: Option<InstanceId>,
    /// Where answers go; `None` for plain JSON.
    pub(super) outbox: Option<Outbox>,
    /// When anything was heard, for the silence rule.
    pub(super) heard: MonoTime,
    /// What operators see.
    pub(super) live: LiveLink,
    /// What the log holds of what it told; `None` for plain JSON.
    pub(super) told: Option<LastTold>,
    /// The newest epoch of which something came in this session.
    pub(super) sent: Option<Epoch>,
    pub(super) _gauge: SessionGauge,
}

/// Counts a session as open for as long as this lives, however it ends.
pub(super) struct SessionGauge {
    metrics: Arc<Metrics>,
    transport: Transport,
}

/// Most schemas kept in memory for one robot. More are found in the log.
const SCHEMAS_MAX: usize = 32;

impl Robot {
    pub(super) fn new(id: RobotId, receiver: Receiver) -> Self {
        let state = RobotState {
            receiver,
            session: None,
            repeats: BTreeMap::new(),
            unsaid: BTreeSet::new(),
            ack_queued: false,
            schemas: VecDeque::new(),
            json_channels: SchemaBuilder::new(),
            owed: Owed::default(),
            labels: KnownLabels::default(),
            json_next: [Seq::FIRST; 3],
        };
        let (paying, labelling) = (Mutex::new(()), Mutex::new(()));
        Self { id, state: Mutex::new(state), refused: Mutex::default(), paying, labelling }
    }

    /// Notes that something of it was refused for what it is. Its state may be locked.
    pub(super) fn note_refused(&self, reason: RefuseReason, clock: &Clock, lately: Duration) {
        // Where the gateway lacks room or time, no robot is to blame.
        if matches!(reason, RefuseReason::Busy | RefuseReason::DiskFull) {
            return;
        }
        let now = Moment { mono: clock.mono(), wall: clock.wall() };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused =
            Refused { episode: Some(Episode::add(refused.episode, 1, now, lately)), last: Some(reason) };
    }

    /// Returns what was refused of it last.
    pub(super) fn refused(&self) -> Refused {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, RobotState> {
        // Each change under the lock is whole before anything in it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionGauge {
    pub(super) fn open(metrics: &Arc<Metrics>, transport: Transport) -> Self {
        metrics.session_opened(transport);
        Self { metrics: Arc::clone(metrics), transport }
    }
}

impl Drop for SessionGauge {
    fn drop(&mut self) {
        self.metrics.session_closed(self.transport);
    }
}

impl RobotState {
    /// Returns the open session if it has this number.
    pub(super) fn session(&mut self, number: u64) -> Option<&mut OpenSession> {
        self.session.as_mut().filter(|session| session.number == number)
    }

    /// Takes the open session away if it is to end.
    pub(super) fn end_session_if(&mut self, ends: impl FnOnce(&OpenSession) -> bool) -> Option<OpenSession> {
        let ends = self.session.as_ref().is_some_and(ends);
        if ends { self.session.take() } else { None }
    }

    /// Takes a schema; the ones that were used longest ago make room.
    pub(super) fn learn_schema(&mut self, schema: &Arc<Schema>) {
        let schema = shared_schema(schema);
        self.schemas.retain(|known| known.hash() != schema.hash());
        self.schemas.push_back(schema);
        if self.schemas.len() > SCHEMAS_MAX {
            self.schemas.pop_front();
        }
    }

    /// Returns a schema that is in memory.
    pub(super) fn schema(&mut self, hash: SchemaHash) -> Option<Arc<Schema>> {
        let at = self.schemas.iter().position(|known| known.hash() == hash)?;
        let schema = self.schemas.remove(at)?;
        self.schemas.push_back(Arc::clone(&schema));
        Some(schema)
    }

    /// Returns the hashes of the schemas that are in memory.
    pub(super) fn schema_hashes(&self) -> Vec<SchemaHash> {
        self.schemas.iter().map(|schema| schema.hash()).collect()
    }

    /// Takes the ticket of a copy of a claimed record.
    pub(super) fn await_claim(&mut self, head: NumberedHead, issuer: TicketIssuer) {
        self.repeats.entry(head).or_default().push(issuer);
    }

    /// Takes back a claim and returns the tickets of its copies.
    pub(super) fn settle(&mut self, claim: Claim, result: Result<(), Unhandled>) -> Vec<TicketIssuer> {
        // A late copy of a batch that the claimed record declares gone waits under the batch's own number.
        let (copies, others) =
            std::mem::take(&mut self.repeats).into_iter().partition(|(number, _)| claim.covers(*number));
        self.repeats = others;
        let copies: BTreeMap<NumberedHead, Vec<TicketIssuer>> = copies;
        if result.is_ok() {
            let decided = copies.keys().copied().chain(claim.head());
            self.unsaid.extend(decided.map(|number| (number.epoch, number.lane, number.seq)));
            self.receiver.handle_committed(claim);
        } else {
            self.receiver.handle_failed(claim);
        }
        copies.into_values().flatten().collect()
    }

    /// Numbers a batch of plain JSON.
    pub(super) fn next_json_seq(&mut self, lane: Lane) -> Seq {
        let next = self.json_next.get_mut(lane.index()).expect("there is a number for each lane");
        let seq = *next;
        *next = seq.next();
        seq
    }

    /// Returns the numbers that the next batches of plain JSON will get.
    pub(super) fn json_next(&self) -> [Seq; 3] {
        self.json_next
    }

    /// Takes back numbers that were given and not used, unless some were given since: then a gap stays.
    pub(super) fn take_back_json(&mut self, given: &Range<[Seq; 3]>) {
        if self.json_next == given.end {
            self.json_next = given.start;
        }
    }
}
