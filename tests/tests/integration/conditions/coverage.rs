//! Every condition is shown: a test sees it come, and sees it clear.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use muster_gateway::conditions::Code;

/// A call of `raises` returns what only `clears` ends well, so one in a test that passes shows both.
const CALL: &str = "raises(";

#[test]
fn each_condition_is_raised_by_a_test_that_sees_it_clear() {
    let mut shown = BTreeSet::new();
    let all = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration"));
    for path in all.iter().filter(|path| !path.ends_with("conditions/coverage.rs")) {
        let text = code_of(&fs::read_to_string(path).unwrap());
        assert!(!text.contains("forget("), "{}: what came has to be seen to clear", path.display());
        shown.extend(named(&text));
    }
    let missing: Vec<_> =
        Code::all().filter(|code| !shown.contains(&format!("{code:?}"))).map(Code::as_str).collect();
    assert!(missing.is_empty(), "no test calls `raises` and `clears` for {missing:?}");
}

#[test]
fn what_is_only_mentioned_shows_nothing() {
    let text = "// raises(&gateway, Code::StoreFull, None)\n/// raises(&gateway, Code::BlobFiles, None)\n\
                let slow = raises(\n    &gateway,\n    Code::CommitSlow,\n    None,\n).says(&[Code::LinkDown]);\n";
    assert_eq!(named(&code_of(text)), BTreeSet::from(["CommitSlow".to_owned()]));
}

/// Returns the codes that calls name.
fn named(code: &str) -> BTreeSet<String> {
    let of_call = |rest: &str| {
        let arguments = rest.split(')').next()?;
        let name = arguments.split("Code::").nth(1)?;
        Some(name.chars().take_while(char::is_ascii_alphanumeric).collect())
    };
    code.split(CALL).skip(1).filter_map(of_call).collect()
}

/// Returns a source without its comments.
fn code_of(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(of).collect()
}
