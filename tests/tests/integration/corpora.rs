//! Every input that a fuzzer found worth keeping, as an ordinary test.

use std::{fs, path::Path};

use muster_tests::fuzz::TARGETS;

#[test]
fn every_kept_input_of_the_fuzzers_keeps_every_promise() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for target in TARGETS {
        let folder = corpus.join(target.name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert!(!paths.is_empty(), "{} has inputs", folder.display());
        for path in paths {
            let input = fs::read(&path).unwrap();
            let kept = std::panic::catch_unwind(|| (target.run)(&input));
            assert!(kept.is_ok(), "{} breaks a promise: see above", path.display());
        }
    }
}

#[test]
fn every_fuzzer_has_a_target_and_every_target_a_fuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut found: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut expected: Vec<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
