//! The gateway of the [`World`]: what it does with what arrives, and its log.

use super::*;

impl World {
    pub(super) fn gateway_takes(&mut self, link: u64, message: Message) {
        if let Message::Hello(hello) = message {
            if self.session.is_none_or(|session| session < link) {
                self.session = Some(link);
                let welcome = Welcome {
                    instance: InstanceId([2; 16]),
                    log: LogId([3; 16]),
                    session: link,
                    window: Window { bytes: 1 << 20, batches: self.grant },
                    have: self.receiver.handle_hello(&hello.held, &hello.drained),
                    schemas: self.schemas.iter().copied().collect(),
                    now: WallTime(0),
                };
                self.send_down(link, &Message::Welcome(welcome));
            }
            return;
        }
        if self.session != Some(link) {
            return; // of a session that a newer one replaced
        }
        match message {
            Message::Heartbeat(beat) => self.receiver.handle_heartbeat(&beat.held),
            Message::Schema(schema) => {
                self.schemas.insert(SchemaHash([schema.payload[0]; 16]));
            }
            Message::Batch(batch) => self.take_batch(link, &batch),
            Message::Loss(loss) => self.take_loss(link, &loss),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn take_batch(&mut self, link: u64, batch: &Numbered) {
        let hash = SchemaHash([batch.payload[0]; 16]);
        if batch.payload[1] == 1 {
            return self.refuse(link, batch.head, RefuseReason::Malformed);
        }
        if !self.schemas.contains(&hash) {
            return self.send_down(link, &Message::NeedSchema(NeedSchema { batch: batch.head, hash }));
        }
        match self.receiver.handle_batch(batch.head, 1) {
            Verdict::Commit(claim) => self.enqueue(link, claim, Vec::new()),
            Verdict::Committed => self.ack([key(batch.head)].into()),
            Verdict::Claimed => {}
            Verdict::Refuse(reason) => self.refuse(link, batch.head, reason),
        }
    }

    pub(super) fn take_loss(&mut self, link: u64, record: &Numbered) {
        let loss = record.loss().unwrap();
        match self.receiver.handle_loss(record.head, &loss) {
            LossVerdict::Commit(claim, loss) => {
                let lost = loss.lost.iter().map(|lost| (loss.epoch, loss.lane, lost.seq)).collect();
                self.enqueue(link, claim, lost);
            }
            LossVerdict::Committed => self.ack([key(record.head)].into()),
            LossVerdict::Claimed => {}
            LossVerdict::Refuse(reason) => self.refuse(link, record.head, reason),
        }
    }

    pub(super) fn enqueue(&mut self, link: u64, claim: Claim, lost: Vec<Key>) {
        if self.queue.len() >= self.queue_bound {
            let head = claim.head().expect("this world judges no absence");
            self.receiver.handle_failed(claim);
            return self.refuse(link, head, RefuseReason::Busy);
        }
        self.queue.push_back(Queued { due: self.now + self.commit_time, claim, lost });
    }

    pub(super) fn refuse(&mut self, link: u64, batch: NumberedHead, reason: RefuseReason) {
        let retry_after_ms = match reason {
            RefuseReason::Malformed => None,
            RefuseReason::EpochClosed => Some(5000),
            _ => Some(250),
        };
        self.send_down(link, &Message::Refuse(Refuse { batch, reason, retry_after_ms }));
    }

    pub(super) fn commit_due(&mut self) {
        let mut unsaid = BTreeSet::new();
        while self.queue.front().is_some_and(|queued| queued.due <= self.now) {
            let queued = self.queue.pop_front().expect("it is in front");
            if self.failing_commits > 0 {
                self.failing_commits -= 1;
                self.receiver.handle_failed(queued.claim);
                continue;
            }
            self.store(&queued);
            unsaid.extend(queued.claim.head().map(key));
            self.receiver.handle_committed(queued.claim);
        }
        if !unsaid.is_empty() {
            self.ack(unsaid);
        }
    }

    pub(super) fn store(&mut self, queued: &Queued) {
        let stored = std::iter::once((key(queued.claim.head().expect("as above")), Settled::Stored));
        for (key, how) in stored.chain(queued.lost.iter().map(|key| (*key, Settled::Lost))) {
            let before = self.settled.insert(key, how);
            assert_eq!(before, None, "{key:?} was settled already, and is now {how:?} again");
        }
    }

    pub(super) fn ack(&mut self, heads: BTreeSet<Key>) {
        let lanes = self.receiver.ack(heads);
        if let (Some(session), false) = (self.session, lanes.is_empty()) {
            self.send_down(session, &Message::Ack(Ack { lanes }));
        }
    }
}
