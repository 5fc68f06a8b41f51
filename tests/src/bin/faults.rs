//! Does real faults to the real programs and prints what became of the samples; see FAULTS.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_tests::fault::table::main()
}
