//! Work on many things at once: a slice is cut into a part for each thread.

use std::{num::NonZero, thread};

/// Most threads of one piece of work: it must not take the whole machine from ingest.
const THREADS_MAX: usize = 4;

/// Cuts `items` into as many parts as there are cores, of at least `least` items, and returns what `work` made of each
/// part, in their order. There is always a part, if only an empty one.
pub(crate) fn in_parts<T: Sync, R: Send>(
    items: &[T],
    least: usize,
    work: impl Fn(&[T]) -> R + Sync,
) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let count = cores.min(THREADS_MAX).min(items.len().div_ceil(least)).max(1);
    let mut parts = items.chunks(items.len().div_ceil(count).max(1));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_whole_and_in_order() {
        for count in [0, 1, 7, 8, 9, 1000] {
            let items: Vec<u32> = (0..count).collect();
            let parts = in_parts(&items, 4, <[u32]>::to_vec);
            assert!((1..=THREADS_MAX).contains(&parts.len()));
            assert_eq!(parts.concat(), items);
        }
    }

    #[test]
    fn little_work_is_done_by_one_thread() {
        assert_eq!(in_parts(&[1, 2, 3], 4, <[i32]>::len), [3]);
    }
}
