//! Measures the real programs and prints Markdown tables; see BENCHMARKS.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_tests::bench::main()
}
