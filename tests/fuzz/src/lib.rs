//! What the fuzzers share: each calls a function of `muster_tests::fuzz` and watches how much heap it takes.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

pub use libfuzzer_sys;

use muster_tests::fuzz::{TARGETS, Target};

/// Makes a fuzzer of the target with this name.
#[macro_export]
macro_rules! fuzz {
    ($name:ident) => {
        #[global_allocator]
        static HEAP: $crate::CountedHeap = $crate::CountedHeap;

        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::run(stringify!($name), data));
    };
}

/// Calls a target.
///
/// # Panics
/// If the target does, or holds more heap at once than it may.
pub fn run(name: &str, data: &[u8]) {
    let target: &Target = TARGETS.iter().find(|target| target.name == name).expect("a known target");
    let before = HELD.load(Relaxed);
    MOST.store(before, Relaxed);
    (target.run)(data);
    let most = MOST.load(Relaxed).saturating_sub(before);
    assert!(most <= target.heap_bytes_max, "{most} bytes of heap; at most {} are promised", target.heap_bytes_max);
}

/// The system's heap, with its bytes counted.
pub struct CountedHeap;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn took(bytes: usize) {
    let held = HELD.fetch_add(bytes, Relaxed).wrapping_add(bytes);
    MOST.fetch_max(held, Relaxed);
}

// SAFETY: every call goes to the system's heap as it came.
unsafe impl GlobalAlloc for CountedHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        took(bytes);
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(place, layout, bytes) }
    }
}
