//! Lets simulated worlds live; see `muster_tests::world`.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_tests::world::main()
}
