//! The parameters of requests, each described once.

use serde_json::Value;
use utoipa::{
    IntoParams,
    openapi::{
        Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{KnownFormat, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type},
    },
};

use crate::{
    conditions::{Code, Severity},
    http::parameters::{PAGE, PAGE_MAX},
    query::EXPRESSION_BYTES_MAX,
};

/// `{fleet}` and `{robot}` in a path.
pub(in crate::http) struct RobotPath;

/// `limit` and `cursor` of the list of robots.
pub(in crate::http) struct RobotPaging;

/// `limit` and `cursor` of a list of losses.
pub(in crate::http) struct LossPaging;

/// `limit` and `cursor` of the list of groups.
pub(in crate::http) struct GroupPaging;

/// `limit` and `cursor` of the list of conditions.
pub(in crate::http) struct ConditionPaging;

/// `int64`, as every answer with 64-bit integers takes it.
pub(in crate::http) struct Int64;

/// `where`: which robots a question is about.
pub(in crate::http) struct Where;

/// `group`: which robots a question is about, by a name.
pub(in crate::http) struct InGroup;

/// `at` and `known`: which moment is asked about.
pub(in crate::http) struct At;

/// What to take together.
pub(in crate::http) struct Taking;

/// `{name}` of a group in a path.
pub(in crate::http) struct GroupPath;

/// `sort` of the list of robots.
pub(in crate::http) struct Sorting;

/// `fields` of the list of robots.
pub(in crate::http) struct Fields;

/// What selects conditions.
pub(in crate::http) struct Conditions;

/// What selects samples.
pub(in crate::http) struct Selection;

/// Which copy of the document the caller has.
pub(in crate::http) struct IfNoneMatch;

/// Names of functions with commas between them.
const FUNCTIONS: &str = "^(count|min|max|mean|sum|p[1-9][0-9]?)(,(count|min|max|mean|sum|p[1-9][0-9]?))*$";

/// A robot's id.
const ROBOT: &str = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}/[A-Za-z0-9][A-Za-z0-9._-]{0,62}";

/// The names of fleets and robots.
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";

impl IntoParams for RobotPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let name = |name: &str, example: &str, meaning: &str| {
            let schema = text().pattern(Some(NAME)).build();
            let parameter = described(name, meaning, schema, example);
            parameter.parameter_in(ParameterIn::Path).required(Required::True).build()
        };
        vec![
            name("fleet", "warehouse", "The fleet's name."),
            name("robot", "r17", "The robot's name within its fleet."),
        ]
    }
}

impl IntoParams for RobotPaging {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let name = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}";
        paging(text().pattern(Some(format!("^(after:{name}/{name}|list:[0-9a-f]{{16}}:[0-9]{{1,9}})$"))))
    }
}

impl IntoParams for LossPaging {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        paging(text().pattern(Some("^[0-9]{1,19}$")))
    }
}

impl IntoParams for GroupPaging {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        paging(text())
    }
}

impl IntoParams for ConditionPaging {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let code = one_of(Code::all().map(Code::as_str));
        paging(text().pattern(Some(format!("^{code}:({ROBOT})?$"))))
    }
}

/// `limit` and `cursor`, as every list takes them.
fn paging(cursor: ObjectBuilder) -> Vec<Parameter> {
    let limit = Object::builder().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(PAGE_MAX));
    let limit = limit.default(Some(PAGE.into())).build();
    let meaning = "The `next_cursor` of the page before. What it is made of may change.";
    vec![
        query("limit", "The most entries of a page.", limit, 50),
        described("cursor", meaning, cursor.build(), Value::Null).example(None).build(),
    ]
}

impl IntoParams for Int64 {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = text().enum_values(Some(["number", "string"])).default(Some("number".into())).build();
        let meaning =
            "`string` quotes 64-bit integers and times, for JavaScript, whose numbers hold 53 bits.";
        vec![query("int64", meaning, schema, "number")]
    }
}

impl IntoParams for Where {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = text().max_length(Some(EXPRESSION_BYTES_MAX)).build();
        let meaning = "Only robots that this CEL expression describes. It knows the members of a robot's answer by \
                       their paths (`link.up`, `health.level`), `labels.site`, and of a channel or a group of channels \
                       `value(\"battery.soc\")`, `freshness(\"pose\")`, `age_ms(\"pose.x\")` and `known(\"mode\")`. \
                       Here and wherever names are taken, `health`, `last_heard`, `link`, `lost` and `on_robot` are \
                       short for `health.level`, `link.last_heard`, `link.state`, `loss.samples` and \
                       `completeness.on_robot`. What can be neither true nor false is refused with its position; a \
                       robot that has not what is asked for is neither taken nor left out: `undecided` counts it.";
        vec![query("where", meaning, schema, "link.up && freshness(\"battery.soc\") == \"fresh\"")]
    }
}

impl IntoParams for InGroup {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let meaning = "Only robots of this group, which is an expression that was saved under a name; with `where`, of \
                       both.";
        let schema = text().pattern(Some(NAME)).build();
        vec![described("group", meaning, schema, Value::Null).example(None).build()]
    }
}

impl IntoParams for At {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let at = "The moment that is asked about, now if it is not given. 410 if the log was trimmed since. What only open \
                  sessions tell is not on record: when a robot was heard last is then when its last record was received.";
        let known = "By whose knowledge a moment in the past is told: `then`, as it was served; or `now`, with samples that \
                     came later and times that were repaired since, and with today's completeness, losses and conflict.";
        let known = described("known", known, text().enum_values(Some(["then", "now"])).build(), Value::Null);
        vec![described("at", at, time(), Value::Null).example(None).build(), known.example(None).build()]
    }
}

impl IntoParams for Taking {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let by = "What the robots of a group have in common: up to eight members, labels or channels with commas between \
                  them. Without it there is one group of all.";
        let of = "What is computed of the robots in each group: up to eight members, labels or channels.";
        let functions = "What is computed of the numbers: `count`, `min`, `max`, `mean`, `sum` and percentiles `p1` to \
                         `p99`, each of them the number of one of the robots.";
        vec![
            query("by", by, text().build(), "labels.site"),
            query("of", of, text().build(), "battery.soc"),
            query(
                "fn",
                functions,
                text().pattern(Some(FUNCTIONS)).default(Some("count,min,max,mean".into())).build(),
                "count,mean,p95",
            ),
        ]
    }
}

impl IntoParams for GroupPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = described("name", "The group's name.", text().pattern(Some(NAME)).build(), "low");
        vec![parameter.parameter_in(ParameterIn::Path).required(Required::True).build()]
    }
}

impl IntoParams for Sorting {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let meaning = "What robots are sorted by: up to four members, labels or channels with commas between them, \
                       descending with a `-` in front. What is unknown comes last; equal robots come by their ids.";
        vec![query("sort", meaning, text().default(Some("id".into())).build(), "-loss.samples")]
    }
}

impl IntoParams for Fields {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let meaning = "What is told of each robot, beside its id: members and their parts by path (`link`, \
                       `health.level`), labels, and channels by name or pattern (`battery.*`), which are told in `values`.";
        vec![query("fields", meaning, text().build(), "link.state,health.level,battery.*")]
    }
}

impl IntoParams for Conditions {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let severities =
            "Only conditions that are so grave: `error`, `warn` or `info`, or several with commas.";
        let codes = "Only conditions of this code, or of several with commas between them.";
        let several = |word: &str| text().pattern(Some(format!("^{word}(,{word}){{0,9}}$"))).build();
        let severity = several(&one_of(Severity::ALL.map(Severity::as_str)));
        let code = several(&one_of(Code::all().map(Code::as_str)));
        let robot = text().pattern(Some(format!("^{ROBOT}$"))).build();
        vec![
            query("severity", severities, severity, "error,warn"),
            query("code", codes, code, "link_down,samples_lost"),
            query("robot", "Only conditions of this robot, FLEET/ROBOT.", robot, "warehouse/r17"),
        ]
    }
}

/// Returns a pattern of one of these words.
fn one_of(words: impl IntoIterator<Item = &'static str>) -> String {
    format!("({})", words.into_iter().collect::<Vec<_>>().join("|"))
}

impl IntoParams for Selection {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let globs = text().pattern(Some("^[^,]{1,128}(,[^,]{1,128}){0,63}$")).build();
        let channels = "Only channels that match one of these patterns, with commas between them. `*` stands for any \
                        number of characters and `?` for one; brackets are literal. At most 64.";
        let after = "Only samples behind this one: `o` and `i` of the last line that was read, with a colon between. \
                     410 if the log no longer holds it, 400 if the log has not come so far.";
        let cursor = text().pattern(Some("^[0-9]{1,19}:[0-9]{1,9}$")).build();
        vec![
            query("from", "Only samples of this time or later.", time(), 1_770_000_000_000_000_000_i64),
            query("to", "Only samples before this time.", time(), "2100-01-01T00:00:00Z"),
            query("channels", channels, globs, "battery.*,pose.?"),
            described("after", after, cursor, "1:0").build(),
        ]
    }
}

impl IntoParams for IfNoneMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let meaning = "The `ETag` of the copy that the caller has: 304 if it is still the same.";
        let parameter = described("If-None-Match", meaning, text().build(), "\"another\"");
        vec![parameter.parameter_in(ParameterIn::Header).build()]
    }
}

/// A time as a parameter: integer nanoseconds since 1970, or RFC 3339.
fn time() -> Schema {
    let nanos = Object::builder()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(i64::MIN))
        .maximum(Some(i64::MAX))
        .description(Some("Nanoseconds since 1970-01-01 00:00 UTC."));
    let written = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    let written = written.description(Some("As in RFC 3339."));
    Schema::OneOf(OneOfBuilder::new().item(nanos).item(written).build())
}

fn text() -> ObjectBuilder {
    Object::builder().schema_type(Type::String)
}

fn query(name: &str, meaning: &str, schema: impl Into<Schema>, example: impl Into<Value>) -> Parameter {
    described(name, meaning, schema, example).build()
}

fn described(
    name: &str,
    meaning: &str,
    schema: impl Into<Schema>,
    example: impl Into<Value>,
) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(meaning))
        .schema(Some(schema.into()))
        .example(Some(example.into()))
}
