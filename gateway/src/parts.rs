//! Work on many things at once: they are cut into a part for each thread.

use std::{num::NonZero, ops::Range, thread};

/// Most threads of one piece of work: it must not take the whole machine from ingest.
const THREADS_MAX: usize = 4;

/// Cuts `items` places into as many parts as there are cores, of at least `least` places, and returns what `work` made
/// of each part, in their order. There is always a part, if only an empty one.
pub(crate) fn in_parts<R: Send>(
    items: usize,
    least: usize,
    work: impl Fn(Range<usize>) -> R + Sync,
) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let count = cores.min(THREADS_MAX).min(items.div_ceil(least)).max(1);
    let mut parts = cut(0..items, items.div_ceil(count).max(1));
    let first = parts.next().unwrap_or_default();
    thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(|| work(part))).collect();
        let mut done = vec![work(first)];
        for other in others {
            done.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    })
}

/// Cuts places into pieces of this many; the last may be smaller.
pub(crate) fn cut(places: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = places.end;
    places.step_by(size).map(move |start| start..end.min(start + size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_whole_and_in_order() {
        for count in [0, 1, 7, 8, 9, 1000] {
            let parts = in_parts(count, 4, Range::collect::<Vec<_>>);
            assert!((1..=THREADS_MAX).contains(&parts.len()));
            assert!(parts.concat().into_iter().eq(0..count));
        }
    }

    #[test]
    fn little_work_is_done_by_one_thread() {
        assert_eq!(in_parts(3, 4, |part| part.len()), [3]);
    }
}
