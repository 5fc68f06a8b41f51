//! RUNBOOK.md has a section for each condition, and says the same of it as the program.

use std::{collections::BTreeMap, fs, path::Path};

use muster_gateway::conditions::Code;

/// What each section has to say.
const PARTS: [&str; 4] = ["**Users see:**", "**Check:**", "**Do:**", "**Clears:**"];

#[test]
fn the_runbook_has_a_section_for_each_code_and_no_other() {
    let sections = sections();
    let codes: Vec<&str> = Code::all().map(Code::as_str).collect();
    let headings: Vec<&str> = sections.iter().map(|(heading, _)| heading.as_str()).collect();
    assert_eq!(headings, codes, "in the order in which they are shown");
}

#[test]
fn each_section_says_how_grave_it_is_what_to_check_and_what_to_do() {
    let sections: BTreeMap<String, String> = sections().into_iter().collect();
    for code in Code::all() {
        let text = &sections[code.as_str()];
        let of = if code.is_of_robot() { "one robot" } else { "the gateway" };
        let begin = format!("*{}, of {of}.*", code.severity().as_str());
        assert!(text.trim_start().starts_with(&begin), "{}: {begin}", code.as_str());
        let places: Vec<_> = PARTS.iter().map(|part| text.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{}: {places:?}", code.as_str());
    }
}

#[test]
fn each_section_says_how_the_condition_clears_as_the_program_does() {
    let sections: BTreeMap<String, String> = sections().into_iter().collect();
    for code in Code::all() {
        let text = sections[code.as_str()].split("**Clears:** ").nth(1).expect("it has this part");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let rest = words.strip_prefix(&code.clears().to_string());
        let ends = rest.is_some_and(|rest| rest.starts_with(['.', ',', ';', ':']));
        assert!(ends, "{}: it clears {}, not {words}", code.as_str(), code.clears());
    }
}

#[test]
fn each_remedy_names_its_section() {
    for code in Code::all() {
        let section = format!(": see RUNBOOK.md#{}", code.as_str());
        assert!(code.remedy().ends_with(&section), "{}", code.remedy());
    }
}

/// Returns the sections by their headings, in their order.
fn sections() -> Vec<(String, String)> {
    let page = page("RUNBOOK.md");
    let sections = page.split("\n## ").skip(1);
    let parted = sections.filter_map(|section| section.split_once('\n'));
    parted.map(|(heading, text)| (heading.to_owned(), text.to_owned())).collect()
}

fn page(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
