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
];
