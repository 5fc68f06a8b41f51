//! Writes first inputs for the fuzzers: `cargo run -p muster-tests --bin fuzz-seeds -- tests/fuzz/corpus`.

use std::{env, path::PathBuf, process::ExitCode};

use muster_tests::{aloud::say_aloud, fuzz::seeds};

fn main() -> ExitCode {
    let Some(corpus) = env::args_os().nth(1).map(PathBuf::from) else {
        say_aloud("name the folder of the corpora, as in tests/fuzz/corpus");
        return ExitCode::from(2);
    };
    match seeds::write(&corpus) {
        Ok(count) => say_aloud(&format!("{count} inputs below {}", corpus.display())),
        Err(error) => {
            say_aloud(&format!("{error:#}"));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
