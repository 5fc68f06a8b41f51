//! Robots taken together.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{Object, Schema, SchemaType, Type},
    },
};

use super::{AsOfAnswer, Count, Moment, Time, Undecided, link::FreshnessCounts, ms};
use crate::query::{Aggregation, Amounts, Fact, Function, Groups};

/// Robots taken together.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Aggregate)]
pub(in crate::http) struct AggregateAnswer {
    /// The groups, those with most robots first.
    groups: Vec<Group>,
    /// Robots that were taken, in all groups.
    robots: Count,
    /// Robots in groups beyond the thousandth, of which nothing is told.
    beyond: Count,
    /// Robots for which the question has no answer; null if there are none.
    #[schema(required = true)]
    undecided: Option<Undecided>,
    /// Channels and labels of the question that no robot has, and that are likely typed wrongly; null if there are none.
    #[schema(required = true, examples(json!(["batery.soc"])))]
    pub(in crate::http) unheard_of: Option<Vec<String>>,
    /// The moment in the past that is told; only where it was asked for with `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    as_of: Option<AsOfAnswer>,
    /// The moment that is told: the gateway's time, or `at`.
    now: Time,
}

/// Robots that have something in common.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = RobotGroup)]
struct Group {
    /// What they have in common, by the names of `by`; null where nobody knows.
    #[schema(examples(json!({"labels.site": "kiel"})))]
    by: BTreeMap<String, Common>,
    /// How many robots there are.
    robots: Count,
    /// What is computed, by the names of `of`.
    of: BTreeMap<String, Computed>,
}

/// What robots have in common.
#[derive(Clone, Debug)]
struct Common(Fact<'static>);

/// What a name amounts to in a group of robots.
#[derive(Clone, Debug, Serialize)]
struct Computed {
    #[serde(flatten)]
    functions: BTreeMap<String, Number>,
    numbers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    freshness: Option<FreshnessCounts>,
    oldest_age_ms: Option<i64>,
}

/// A count, or what was computed.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
enum Number {
    Count(u64),
    Float(Option<f64>),
}

impl AggregateAnswer {
    /// Says what was found.
    pub(in crate::http) fn of(
        aggregation: &Aggregation,
        found: Groups,
        functions: &[Function],
        moment: Moment,
    ) -> Self {
        let robots = found.groups.iter().map(|group| group.robots).sum();
        let group = |group: crate::query::Group| Group {
            by: aggregation
                .by
                .iter()
                .map(ToString::to_string)
                .zip(group.by.into_iter().map(Common))
                .collect(),
            robots: moment.ints.count(group.robots),
            of: aggregation
                .of
                .iter()
                .map(ToString::to_string)
                .zip(group.of.iter().map(|amounts| Computed::of(amounts, functions)))
                .collect(),
        };
        Self {
            groups: found.groups.into_iter().map(group).collect(),
            robots: moment.ints.count(robots),
            beyond: moment.ints.count(found.beyond),
            undecided: Undecided::of(found.undecided),
            unheard_of: None,
            as_of: None,
            now: moment.ints.time(moment.now),
        }
    }
}

impl AggregateAnswer {
    /// Says that it is of the past.
    pub(in crate::http) fn of_the_past(self, as_of: Option<AsOfAnswer>) -> Self {
        Self { as_of, ..self }
    }
}

impl Computed {
    fn of(amounts: &Amounts, functions: &[Function]) -> Self {
        let computed = |function: &Function| {
            let number = match function {
                Function::Count => Number::Count(amounts.count),
                function => Number::Float(amounts.apply(*function)),
            };
            (function.name(), number)
        };
        Self {
            functions: functions.iter().map(computed).collect(),
            numbers: amounts.numbers(),
            freshness: amounts.freshness.as_ref().map(FreshnessCounts::from),
            oldest_age_ms: amounts.oldest_age_ns.map(ms),
        }
    }
}

impl Serialize for Common {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Fact::Unknown => to.serialize_none(),
            Fact::Bool(value) => to.serialize_bool(*value),
            Fact::Int(value) => to.serialize_i64(*value),
            Fact::Float(value) => to.serialize_f64(*value),
            Fact::Text(text) => to.serialize_str(text),
            Fact::Texts(texts) => to.collect_seq(texts),
        }
    }
}

impl PartialSchema for Common {
    fn schema() -> RefOr<Schema> {
        let types = [Type::Boolean, Type::Integer, Type::Number, Type::String, Type::Array, Type::Null];
        Object::builder().schema_type(SchemaType::Array(types.to_vec())).build().into()
    }
}

impl ToSchema for Common {}

impl PartialSchema for Computed {
    fn schema() -> RefOr<Schema> {
        let types = |types: &[Type]| Object::builder().schema_type(SchemaType::Array(types.to_vec()));
        let number = |meaning: &str| types(&[Type::Number, Type::Null]).description(Some(meaning)).build();
        let count = |meaning: &str| {
            Object::builder().schema_type(Type::Integer).minimum(Some(0)).description(Some(meaning)).build()
        };
        let oldest =
            "The age of the oldest value, where the name comes from a channel; null if nobody knows.";
        Object::builder()
            .description(Some("What a name amounts to: a member for each function that was asked for."))
            .property("count", count("Robots that have a value of any kind."))
            .property("numbers", count("Robots whose value is a number, which is what is computed with."))
            .property("freshness", Ref::from_schema_name("FreshnessCounts"))
            .property("oldest_age_ms", types(&[Type::Integer, Type::Null]).description(Some(oldest)).build())
            .required("numbers")
            .required("oldest_age_ms")
            .additional_properties(Some(Schema::Object(number(
                "Null where there is no number to compute with.",
            ))))
            .build()
            .into()
    }
}

impl ToSchema for Computed {}
