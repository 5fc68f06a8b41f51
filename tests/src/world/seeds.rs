//! Worlds that once went wrong: they are lived through again by every test.

/// Each seed with what it found.
pub const KEPT: &[(u64, &str)] = &[
    (9, "a queue of commits smaller than one record must still take one, or nothing ever settles"),
    (7, "a bit flipped in what was synced last looks like a torn write"),
    (49, "a disk that refuses reads at a start hides segments, which the next start shows"),
    (179, "the samples of lost seqs whose headers cannot be read are known by their sum alone"),
    (192, "a segment is evicted while the disk refuses to read it"),
];
