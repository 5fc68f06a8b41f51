//! Worlds that once went wrong: they are lived through again by every test.

/// Each seed with what it found.
pub const KEPT: &[(u64, &str)] = &[
    (167, "an agent that stops while its disk fails has in memory alone what it recorded last"),
    (209, "an image of a failing disk held a batch that its robot sent under another number"),
    (244, "a seq lost before the start was waited for without end once its segment was removed"),
    (395, "as 209, with a full disk and a partition between"),
    (1019, "what is accepted in the very turn in which the disk fails is in memory already"),
    (1068, "a lane's first samples were not counted with two damaged headers"),
    (1241, "as 244, without a clone"),
    (1254, "as 244, with a disk that refuses reads"),
    (100_623, "how far a drained lane came was forgotten on a disk that was full"),
    (100_757, "a seal that was written and not synced was believed after a kill"),
    (101_180, "a batch that a failing disk kept after all came beside its copy from memory"),
    (101_379, "what drained lanes lacked was judged at a Hello alone"),
    (101_901, "what was given up while the disk failed was held and never sent"),
    (102_783, "a loss record of no samples stood for a batch that had another number in memory"),
    (103_420, "a segment that cannot be read was given up with its sum at a seq that was released"),
    (104_604, "records of damage that a second look found were told to nobody"),
    (107_573, "a robot that came while the gateway's disk was full stayed what it was before"),
    (112_161, "a damaged batch in front of a torn schema passed for a torn write"),
    (207_040, "a clone with an older spool was asked for what only the wiped robot had"),
    (209_992, "what a resume found was told to nobody, because the disk failed again"),
    (305_468, "a record that joined a sum with exact counts was taken for a wrong one by the checker"),
    (335_798, "a lane of which a clone had sent more was never judged"),
    (345_425, "the loss of a damaged record was in memory alone, and the record went from the disk"),
];
