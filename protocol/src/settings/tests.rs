//! What each layer does to the settings, and the sentence for each mistake.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Robotic {
    name: String,
    gateway: Vec<String>,
    verbose: bool,
    rate: f64,
    token: Option<String>,
    spool: Spool,
    log: Log,
    tags: BTreeMap<String, String>,
    channel: Vec<Channel>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spool {
    limit: Size,
    sync_every: Span,
    files: u32,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    format: LogFormat,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Channel {
    r#match: String,
    interval: Option<Span>,
}

const CHANNEL: &[Key] = &[
    Key::new::<String>("match", Kind::Text, "Which.")
        .required("say which channels, as in match = \"battery.*\""),
    Key::new::<Span>("interval", Kind::Span, "How often."),
];

static PROGRAM: Program = Program {
    name: "robotic",
    env_prefix: "ROBOTIC_",
    keys: &[
        Key::new::<String>("name", Kind::Text, "Who it is.").required("give it with --name NAME"),
        Key::new::<Vec<String>>("gateway", Kind::List, "Where to.").or("a, b"),
        Key::new::<bool>("verbose", Kind::Flag, "Say more.").or("false"),
        Key::new::<f64>("rate", Kind::Number, "How fast.").or("1.5"),
        Key::new::<String>("token", Kind::Secret, "What it shows."),
        Key::new::<Size>("spool.limit", Kind::Size, "How much.").or("1GiB").within("1MiB", "1TiB"),
        Key::new::<Span>("spool.sync_every", Kind::Span, "How often.").or("500ms").within("0us", "1m"),
        Key::new::<u32>("spool.files", Kind::Count, "How many.").or("64").within("1", "100"),
        Key::new::<LogFormat>("log.format", Kind::Text, "For whom.").or("human"),
        Key::new::<BTreeMap<String, String>>("tags", Kind::Map, "What it is called by.").or(""),
        Key::new::<Vec<Channel>>("channel", Kind::Tables(CHANNEL), "What about.").or("[]"),
    ],
};

fn named() -> Settings {
    let mut settings = Settings::defaults(&PROGRAM);
    settings.set("name", "--name", &["r1".to_owned()]).unwrap();
    settings
}

fn refused_file(text: &str) -> String {
    named().read_file(text, "robotic.toml").unwrap_err().to_string()
}

fn refused_variable(name: &str, text: &str) -> String {
    named().read_environment([(name.into(), text.into())]).unwrap_err().to_string()
}

#[test]
fn a_level_that_was_a_key_still_takes_its_plain_value_and_its_tables() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Listens {
        radio: Radio,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Radio {
        listen: String,
        relay: Option<String>,
    }
    const KEYS: &[Key] = &[
        Key::new::<String>("radio.listen", Kind::Text, "Where.").or("here").short_form("radio"),
        Key::new::<String>("radio.relay", Kind::Text, "Through whom."),
    ];
    static LISTENS: Program = Program { name: "listens", env_prefix: "LISTENS_", keys: KEYS };
    let told = |file: &str, variables: &[(&str, &str)]| {
        let mut settings = Settings::defaults(&LISTENS);
        settings.read_file(file, "listens.toml").unwrap();
        settings.read_environment(variables.iter().map(|(name, text)| (name.into(), text.into()))).unwrap();
        let mut again = Settings::defaults(&LISTENS);
        again.read_file(&settings.print(), "printed").unwrap();
        assert_eq!(again.config::<Listens>().unwrap(), settings.config::<Listens>().unwrap());
        settings.config::<Listens>().unwrap().radio
    };
    let radio =
        |listen: &str, relay: Option<&str>| Radio { listen: listen.into(), relay: relay.map(Into::into) };
    assert_eq!(told("radio = \"there\"", &[]), radio("there", None));
    assert_eq!(told("[radio]\nlisten = \"there\"\nrelay = \"x\"", &[]), radio("there", Some("x")));
    assert_eq!(told("radio.relay = \"x\"", &[("LISTENS_RADIO", "there")]), radio("there", Some("x")));
    assert_eq!(told("", &[("LISTENS_RADIO__LISTEN", "there")]), radio("there", None));
    let wrong = Settings::defaults(&LISTENS).read_file("radio = 3", "f").unwrap_err().to_string();
    assert!(wrong.starts_with("radio.listen = 3 in f, line 1: write text"), "{wrong}");
}

#[test]
fn the_file_overrides_defaults_and_the_environment_the_file_and_flags_everything() {
    let mut settings = named();
    settings
        .read_file("verbose = true\n[spool]\nlimit = \"2GiB\"\nfiles = 5\nsync_every = \"1s\"\n", "f")
        .unwrap();
    settings
        .read_environment([
            ("ROBOTIC_SPOOL__FILES".into(), "6".into()),
            ("ROBOTIC_SPOOL__LIMIT".into(), "3GiB".into()),
            ("ROBOTICS".into(), "ignored".into()),
            ("PATH".into(), "/bin".into()),
        ])
        .unwrap();
    settings.set("spool.limit", "--limit", &["4GiB".to_owned()]).unwrap();
    let config: Robotic = settings.config().unwrap();
    let spool = Spool { limit: "4GiB".parse().unwrap(), sync_every: "1s".parse().unwrap(), files: 6 };
    assert_eq!((config.verbose, config.spool), (true, spool));
    assert_eq!(config.gateway, ["a", "b"]);
}

#[test]
fn an_unknown_key_of_the_file_is_named_with_its_line_and_the_nearest_known_one() {
    assert_eq!(
        refused_file("name = \"x\"\n\n[spool]\nlimt = \"1GiB\"\n"),
        "unknown key `spool.limt` in robotic.toml, line 4; the nearest known key is `spool.limit`"
    );
    assert_eq!(
        refused_file("sync_every = \"1s\""),
        "unknown key `sync_every` in robotic.toml, line 1; the nearest known key is `spool.sync_every`"
    );
    assert_eq!(
        refused_file("[spol]\nlimit = \"1GiB\""),
        "unknown key `spol.limit` in robotic.toml, line 2; the nearest known key is `spool.limit`"
    );
    assert!(
        refused_file("[name]\nx = 1").starts_with("name = { x = 1 } in robotic.toml, line 1: write text")
    );
    assert!(refused_file("spool = 3").contains("`spool` is a table; write its keys below [spool]"));
    assert!(refused_file("[extra]").starts_with("unknown key `extra`"));
}

#[test]
fn an_unknown_variable_is_named_with_the_nearest_known_key() {
    assert_eq!(
        refused_variable("ROBOTIC_SPOOL__LIMITS", "1GiB"),
        "unknown key `spool.limits` from the environment variable ROBOTIC_SPOOL__LIMITS; the nearest known key is \
         `spool.limit`"
    );
    assert!(refused_variable("ROBOTIC_", "").contains("unknown key ``"));
}

#[test]
fn a_bad_value_is_named_with_its_key_its_place_and_what_would_be_right() {
    assert_eq!(
        refused_file("[spool]\nlimit = \"lots\""),
        "spool.limit = \"lots\" in robotic.toml, line 2: not a size; write a whole number and a unit, as in 512B, \
         32KiB, 4MiB or 1GiB"
    );
    assert_eq!(
        refused_variable("ROBOTIC_SPOOL__SYNC_EVERY", "5 fortnights"),
        "spool.sync_every = \"5 fortnights\" from the environment variable ROBOTIC_SPOOL__SYNC_EVERY: not a \
         duration; write a whole number and a unit, as in 250us, 500ms, 15s, 5m, 2h or 7d"
    );
    assert!(refused_file("spool.limit = 5").ends_with("line 1: a size is text with a unit, as in \"32KiB\""));
    assert!(
        refused_file("spool.sync_every = 5").ends_with("a duration is text with a unit, as in \"500ms\"")
    );
    assert!(refused_file("verbose = \"yes\"").ends_with("write true or false"));
    assert!(refused_variable("ROBOTIC_VERBOSE", "yes").ends_with("`yes` is neither true nor false"));
    assert!(refused_variable("ROBOTIC_SPOOL__FILES", "many").ends_with("`many` is not a whole number"));
    assert!(refused_file("gateway = [1]").ends_with("write a list of texts, as in [\"one\", \"two\"]"));
    assert!(refused_file("log.format = \"xml\"").contains("expected `human` or `json`"));
}

#[test]
fn bounds_hold_and_include_their_ends() {
    assert!(refused_file("spool.limit = \"1KiB\"").ends_with("out of bounds; 1MiB to 1TiB are allowed"));
    assert!(refused_file("spool.sync_every = \"61s\"").ends_with("out of bounds; 0us to 1m are allowed"));
    assert!(refused_file("spool.files = 0").ends_with("out of bounds; 1 to 100 are allowed"));
    named().read_file("[spool]\nlimit = \"1TiB\"\nsync_every = \"1m\"\nfiles = 1", "f").unwrap();
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    let sentence = refused_file("name = \"x\"\nspool = {\n");
    assert!(sentence.starts_with("in robotic.toml, line "), "{sentence}");
    assert!(!sentence.contains('\n'), "{sentence}");
    assert!(refused_file("name = \"x\"\nname = \"y\"").contains("line 2: not TOML: duplicate key"));
}

#[test]
fn tables_are_checked_key_by_key() {
    let mut settings = named();
    settings
        .read_file("[[channel]]\nmatch = \"a\"\n[[channel]]\nmatch = \"b\"\ninterval = \"1s\"", "f")
        .unwrap();
    assert_eq!(settings.config::<Robotic>().unwrap().channel.len(), 2);
    assert!(
        refused_file("[[channel]]\nmatch = \"a\"\nintervall = \"1s\"")
            .ends_with("number 1 has the unknown key `intervall`; the nearest known key is `interval`")
    );
    assert!(
        refused_file("[[channel]]\nmatch = \"a\"\ninterval = 1")
            .contains("number 1: interval = 1: a duration")
    );
    assert!(
        refused_file("[[channel]]\ninterval = \"1s\"").contains("number 1 has no match: say which channels")
    );
    assert!(refused_file("[channel]\nmatch = \"a\"").ends_with("write tables headed [[channel]]"));
}

#[test]
fn a_table_of_texts_takes_any_name_from_the_file_and_the_environment() {
    let tags = |settings: &Settings| settings.config::<Robotic>().unwrap().tags;
    let expected: BTreeMap<_, _> =
        [("a.b/c".to_owned(), "x = y".to_owned()), ("site".to_owned(), "berlin".to_owned())].into();
    let mut settings = named();
    settings.read_file("[tags]\nsite = \"berlin\"\n\"a.b/c\" = \"x = y\"", "f").unwrap();
    assert_eq!(tags(&settings), expected);
    let mut again = named();
    again.read_file(&settings.print(), "printed").unwrap();
    assert_eq!(tags(&again), expected, "{}", settings.print());
    for text in ["site=berlin, a.b/c=x = y", "{ site = \"berlin\", \"a.b/c\" = \"x = y\" }"] {
        let mut settings = named();
        settings.read_file("tags = { site = \"kiel\", other = \"gone\" }", "f").unwrap();
        settings.read_environment([("ROBOTIC_TAGS".into(), text.into())]).unwrap();
        assert_eq!(tags(&settings), expected);
    }
    assert!(refused_file("[tags]\nline = 3").ends_with("line = 3: write text in quotes"));
    assert!(
        refused_file("[tags]\na.b = \"x\"")
            .contains("a is a table; a name with a dot in it stands in quotes")
    );
    assert!(refused_file("tags = \"x\"").ends_with("write texts below [tags], as in site = \"berlin\""));
    assert!(refused_variable("ROBOTIC_TAGS", "site").ends_with("`site` is not NAME=TEXT, as in site=berlin"));
    assert!(refused_variable("ROBOTIC_TAGS", "a=1,a=2").ends_with("`a` is given twice; give it once"));
    assert!(refused_variable("ROBOTIC_TAGS", "{a").ends_with("starts like a TOML table and is none"));
}

#[test]
fn a_number_may_be_whole_or_have_a_fraction() {
    let rate = |settings: &Settings| settings.config::<Robotic>().unwrap().rate;
    assert!((rate(&named()) - 1.5).abs() < f64::EPSILON);
    for (text, expected) in [("rate = 2", 2.0), ("rate = -0.25", -0.25)] {
        let mut settings = named();
        settings.read_file(text, "f").unwrap();
        assert!((rate(&settings) - expected).abs() < f64::EPSILON);
    }
    assert!(refused_file("rate = \"2\"").ends_with("write a number, as in 0.2"));
    assert!(refused_variable("ROBOTIC_RATE", "fast").ends_with("`fast` is not a number"));
}

#[test]
fn a_list_in_the_environment_is_split_at_commas_or_read_as_toml() {
    for (text, expected) in
        [("x, y", vec!["x", "y"]), ("[\"x,y\", \"z\"]", vec!["x,y", "z"]), ("", vec![]), ("x", vec!["x"])]
    {
        let mut settings = named();
        settings.read_environment([("ROBOTIC_GATEWAY".into(), text.into())]).unwrap();
        assert_eq!(settings.config::<Robotic>().unwrap().gateway, expected);
    }
    assert!(refused_variable("ROBOTIC_GATEWAY", "[x").ends_with("`[x` starts like a TOML array and is none"));
}

#[test]
fn a_repeated_flag_of_a_list_gives_one_item_each_with_commas_kept() {
    let mut settings = named();
    settings.set("gateway", "--gateway", &["x,y".to_owned(), "z".to_owned()]).unwrap();
    assert_eq!(settings.config::<Robotic>().unwrap().gateway, ["x,y", "z"]);
}

#[test]
fn a_key_that_nobody_gave_is_named_with_the_remedy() {
    let missing = Settings::defaults(&PROGRAM).config::<Robotic>().unwrap_err();
    assert_eq!(missing.to_string(), "name is not set: give it with --name NAME");
}

#[test]
fn what_is_printed_gives_the_same_settings_again() {
    let mut settings = named();
    settings
        .read_file("gateway = \"x\"\n[[channel]]\nmatch = \"a\\nb\"\ninterval = \"1s\"", "some\nfile")
        .unwrap();
    let mut again = Settings::defaults(&PROGRAM);
    again.read_file(&settings.print(), "printed").unwrap();
    assert_eq!(again.config::<Robotic>().unwrap(), settings.config::<Robotic>().unwrap());
    assert!(settings.print().contains("gateway = [\"x\"] # in some file, line 1"), "{}", settings.print());
}

#[test]
fn a_secret_is_never_shown() {
    let mut settings = named();
    settings.read_file("token = \"hunter2\"", "f").unwrap();
    assert!(!settings.print().contains("hunter2"), "{}", settings.print());
    assert!(settings.print().contains("# token is set and not shown"));
    assert!(!refused_file("token = [\"hunter2\"]").contains("hunter2"));
    assert!(!refused_file("token = [\"hunter2\"]").contains("hunter2"));
}

#[test]
fn the_markdown_table_has_a_row_for_each_key() {
    let table = PROGRAM.markdown();
    assert!(table.contains("| `spool.limit` | `1GiB` | 1MiB to 1TiB | How much. |"), "{table}");
    assert!(table.contains("| `channel`: `interval` | - | duration | How often. |"), "{table}");
}
