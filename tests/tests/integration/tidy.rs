//! What must not rely on memory: the rules of the house, checked over the sources as text.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A source file, named from the root of the repository.
struct Source {
    name: String,
    text: String,
}

/// Folders and files whose decisions are apart from all I/O.
const PURE: &[&str] = &[
    "protocol/src/",
    "agent/src/backoff.rs",
    "agent/src/batcher.rs",
    "agent/src/batcher/",
    "agent/src/delivery.rs",
    "agent/src/delivery/",
    "agent/src/doctor/judge.rs",
    "agent/src/doctor/judge/",
    "agent/src/doctor/certificate.rs",
    "agent/src/own/row.rs",
    "agent/src/recorder/group_sync.rs",
    "agent/src/spool/format.rs",
    "agent/src/uplink.rs",
    "agent/src/uplink/",
    "gateway/src/conditions.rs",
    "gateway/src/conditions/",
    "gateway/src/fleet.rs",
    "gateway/src/fleet/",
    "gateway/src/link/broker/ledger.rs",
    "gateway/src/link/broker/sessions.rs",
    "gateway/src/query.rs",
    "gateway/src/query/",
    "gateway/src/record.rs",
    "gateway/src/record/",
];

/// What a pure file does not name. A thread's own storage is none of it: it starts nothing and waits for nothing.
const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::net",
    "thread::spawn",
    "thread::sleep",
    "thread::Builder",
    "std::process",
    "::now(",
    "getrandom",
];

/// Which files may name a crate that one file is to know: the file, its folder, and who hands its types on.
const ONE_DOOR: &[(&str, &[&str])] = &[
    ("sled::", &["gateway/src/store/database.rs", "gateway/src/store/database/"]),
    ("quinn::", &["agent/src/link/quic.rs", "gateway/src/link/quic.rs"]),
    ("rumqttc::", &["agent/src/link/mqtt.rs", "gateway/src/link/broker/connection.rs"]),
    ("mqtt_protocol_core::", &["gateway/src/link/mqtt/"]),
    ("toml::", &["protocol/src/settings.rs", "protocol/src/settings/"]),
    (
        "clap::",
        &[
            "protocol/program/src/console.rs",
            "agent/src/cli/",
            "gateway/src/cli/",
            "gateway/src/muster/cli.rs",
            "gateway/src/muster/cli/",
            "gateway/src/muster/notes.rs",
            "gateway/src/muster/pages.rs",
        ],
    ),
    ("rcgen::", &["gateway/src/tls.rs"]),
    ("sysinfo::", &["agent/src/inputs/host.rs", "agent/src/inputs/host/"]),
];

/// Where a pause is the point: between two tries to reach what gives no event, and the pace of a simulated robot.
const PAUSES: &[&str] = &["gateway/src/muster/export/progress.rs", "examples/src/clock.rs"];

/// Pages whose links are followed.
const PAGES: [&str; 10] = [
    "README.md",
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "FAULTS.md",
    "OPERATIONS.md",
    "PROTOCOL.md",
    "RUNBOOK.md",
    "examples/README.md",
    "examples/deploy/README.md",
];

const FILE_LINES_MAX: usize = 500;

/// A function fits on a screen.
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn pure_modules_name_no_io_and_no_clock() {
    let mut found = Vec::new();
    for source in sources(&["protocol", "agent/src", "gateway/src"]) {
        if PURE.iter().any(|pure| source.name.starts_with(pure)) && !is_test(&source.name) {
            for (number, line) in source.code() {
                let named = IMPURE.iter().find(|word| line.contains(**word));
                found.extend(named.map(|word| format!("{}:{number} names {word}", source.name)));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn each_engine_has_one_door() {
    let mut found = Vec::new();
    for source in sources(&["protocol", "agent/src", "gateway/src"]) {
        for (engine, doors) in ONE_DOOR {
            let allowed = doors.iter().any(|door| source.name.starts_with(door)) || is_test(&source.name);
            let named = source.code().find(|(_, line)| names(line, engine));
            if let (Some((number, _)), false) = (named, allowed) {
                found.push(format!("{}:{number} names {engine}", source.name));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn files_stay_short() {
    let long = |source: &Source| source.text.lines().count() > FILE_LINES_MAX;
    let found: Vec<_> = all().into_iter().filter(long).map(|source| source.name).collect();
    assert!(found.is_empty(), "over {FILE_LINES_MAX} lines: {found:?}");
}

#[test]
fn functions_fit_on_a_screen() {
    let mut found = Vec::new();
    for source in all() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| begins_function(line)) {
            // rustfmt puts the closing brace of a function under its first word.
            let indent = &line[..line.len() - line.trim_start().len()];
            let ends = |line: &&str| line.strip_prefix(indent).is_some_and(|rest| rest == "}");
            let length = lines[at..].iter().position(ends).map_or(1, |last| last + 1);
            if length > FUNCTION_LINES_MAX && !line.ends_with('}') && !line.ends_with(';') {
                found.push(format!("{}:{} is {length} lines long", source.name, at + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn nothing_is_put_off_or_slept_through() {
    let words = ["TODO", "FIXME"];
    let calls = ["thread::sleep(", "todo!(", "unimplemented!(", "dbg!(", "#[ignore"];
    let mut found = Vec::new();
    for source in all().into_iter().filter(|source| !source.name.ends_with("integration/tidy.rs")) {
        for (number, line) in source.text.lines().enumerate() {
            let named = words.iter().chain(&calls).find(|word| line.contains(**word));
            let named =
                named.filter(|word| !(word.contains("sleep") && PAUSES.contains(&source.name.as_str())));
            found.extend(named.map(|word| format!("{}:{} has {word}", source.name, number + 1)));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn cited_sections_of_the_protocol_exist() {
    let headings: BTreeSet<String> = page("PROTOCOL.md")
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor_of(line.trim_start_matches('#').trim()))
        .collect();
    let mut found = Vec::new();
    for source in all().into_iter().filter(|source| !source.name.ends_with("integration/tidy.rs")) {
        for cited in source.text.split("PROTOCOL.md#").skip(1) {
            let anchor: String =
                cited.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            if !headings.contains(&anchor) {
                found.push(format!("{} cites PROTOCOL.md#{anchor}", source.name));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn links_of_the_pages_lead_somewhere() {
    let mut found = Vec::new();
    for name in PAGES {
        let text = page(name);
        let folder = Path::new(name).parent().expect("a page is in a folder");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { PathBuf::from(name) } else { folder.join(file) };
            let has_anchor = || {
                let linked = page(&path.to_string_lossy());
                linked.lines().filter(|line| line.starts_with('#')).any(|line| {
                    let heading = line.trim_start_matches('#').trim();
                    anchor_of(heading) == anchor
                })
            };
            if !root().join(&path).exists() || !anchor.is_empty() && !has_anchor() {
                found.push(format!("{name} leads to {target}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn metrics_that_pages_name_exist() {
    let metrics = page("gateway/src/metrics.rs");
    let mut found = Vec::new();
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "BENCHMARKS.md"] {
        for named in page(name).split("`muster_").skip(1) {
            let metric: String =
                named.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let is_crate = ["agent", "gateway", "protocol", "tests", "examples"].contains(&metric.as_str());
            if !is_crate && !metrics.contains(&format!("muster_{metric}")) {
                found.push(format!("{name} names muster_{metric}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_agents_own_figures_are_listed_as_it_records_them() {
    let operations = page("OPERATIONS.md");
    let behind = operations.split("<!-- the agent's own figures -->\n").nth(1);
    let listed = behind.and_then(|rest| rest.split("<!-- end of the agent's own figures -->").next());
    assert_eq!(listed.map(str::trim), Some(muster_agent::own::markdown().trim()), "in OPERATIONS.md");
}

#[test]
fn the_readme_lists_each_key_as_the_programs_have_it() {
    let readme = page("README.md");
    for (name, table) in [
        ("agent", muster_agent::config::PROGRAM.markdown()),
        ("gateway", muster_gateway::config::PROGRAM.markdown()),
    ] {
        let (begin, end) =
            (format!("<!-- keys of the {name} -->\n"), format!("<!-- end of the {name}'s keys -->"));
        let listed =
            readme.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end)).map(|(listed, _)| listed);
        let listed =
            listed.unwrap_or_else(|| panic!("README.md has no section between {begin:?} and {end:?}"));
        assert_eq!(listed.trim(), table.trim(), "the {name}'s keys in README.md");
    }
}

impl Source {
    /// Returns the lines of code with their numbers: no comments, and nothing from the tests on.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = self.text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().enumerate().map(|(number, line)| (number + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn begins_function(line: &str) -> bool {
    let words = line.split_whitespace().take_while(|word| !word.contains('(') || word.starts_with("pub("));
    words.into_iter().any(|word| word == "fn") && !line.trim_start().starts_with("//")
}

/// Returns whether a line names a crate, and not something that only ends like it.
fn names(line: &str, engine: &str) -> bool {
    line.match_indices(engine).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

fn anchor_of(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("tests.rs")
}

fn all() -> Vec<Source> {
    let folders = ["protocol", "agent", "gateway", "tests", "examples"];
    folders.iter().flat_map(|folder| sources(&[folder])).collect()
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut files);
    }
    assert!(!files.is_empty(), "there are sources below {folders:?}");
    let read = |path: PathBuf| Source {
        name: path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
        text: fs::read_to_string(&path).unwrap(),
    };
    files.into_iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
