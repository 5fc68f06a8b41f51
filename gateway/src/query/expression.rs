//! Expressions in CEL over one robot: `link.up && value("battery.soc") < 0.2 && labels.site == "berlin"`.
//!
//! ```text
//!   members     link.up, health.level, ...: the paths of the API's answers, see MEMBERS
//!   labels      labels.site, labels["site/floor"], has(labels.site)
//!   channels    value("c")      the newest value, of whatever age
//!               freshness("c")  "fresh", "late", "stale" or "never"; of a group such as "pose" the worst
//!               age_ms("c")     the value's age; null if nobody knows
//!               known("c")      whether there is a value
//! ```
//!
//! A robot of which something is asked that it does not have is *undecided*, unless the rest of the expression decides
//! anyway, as CEL has it: `false && unknown` is false. Integers and floats compare by their size.

use std::sync::{Arc, LazyLock};

use cel::{
    Context, Env, ExecutionError, Value,
    common::{
        types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString},
        value::{CowVal, Val},
    },
    context::VariableResolver,
    parser::Expression as Ast,
};

use super::{
    Fact, View,
    name::{Member, Name},
    plain::Plain,
    syntax::{self, DEPTH_MAX, LABELS, OF},
    variable::Variable,
};
use crate::fleet::{ColumnKey, Row};

/// A condition on one robot.
#[derive(Clone)]
pub struct Expression {
    text: String,
    ast: Arc<Ast>,
    plain: Arc<Plain>,
    channels: Vec<String>,
    /// The channels and labels that it asks about.
    names: Vec<Name>,
    members: Vec<&'static Member>,
    is_heard: bool,
}

/// Why a text is not an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It is too long.
    #[error("{bytes} bytes are too long for an expression; at most {EXPRESSION_BYTES_MAX} are taken")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is not CEL.
    #[error("at {line}:{column}: {reason}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// It uses what is not known here.
    #[error("at character {column}: {reason}")]
    Unknown {
        /// Where, counted in characters from 1 over all lines.
        column: usize,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// It could take too long for each robot.
    #[error(
        "it could take {steps} steps for each robot, and {max} are allowed: make its lists shorter, or nest fewer of \
         all(), exists(), map() and filter()"
    )]
    Costly {
        /// Steps that it could take.
        steps: u64,
        /// Steps that are allowed.
        max: u64,
    },
}

/// An expression has no answer for a robot: something in it is unknown, or of another type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Undecided {
    /// What, for a person.
    pub why: String,
}

/// Longest expression: far beyond what a person writes, and read in a few milliseconds.
pub const EXPRESSION_BYTES_MAX: usize = 4096;

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    syntax::declare(&mut env);
    Arc::new(env)
});

impl Expression {
    /// Reads and checks an expression.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(ExpressionError::TooLong { bytes: text.len() });
        }
        let parser = ENV.parser().max_recursion_depth(DEPTH_MAX);
        let (ast, source) = parser.parse_with_source_info(text).map_err(|errors| {
            let first = errors.errors.first();
            let (line, column) = first.map_or((1, 1), |error| error.pos);
            let said = first.map_or("not an expression", |error| &error.msg);
            let at = |n: isize| usize::try_from(n).unwrap_or(0).max(1);
            let reason = syntax::reason(said);
            ExpressionError::Syntax { line: at(line), column: at(column), reason }
        })?;
        let found = syntax::check(&ast, &source)?;
        let of_channel = |variable: &String| variable.split_once(OF).map(|(_, name)| name.to_owned());
        let mut channels: Vec<String> = found.variables.iter().filter_map(of_channel).collect();
        channels.sort();
        channels.dedup();
        let names = found.variables.iter().filter_map(|variable| name_of(variable)).collect();
        let members = found.variables.iter().filter_map(|variable| Member::find(variable)).collect();
        let is_heard = found.variables.iter().any(|variable| depends_on_link(variable));
        let plain = Arc::new(Plain::of(&ast));
        Ok(Self { text: text.to_owned(), ast: Arc::new(ast), plain, channels, names, members, is_heard })
    }

    /// Returns the expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the channels that it names, each once.
    pub fn channels(&self) -> &[String] {
        &self.channels
    }

    /// Returns the channels and labels that it asks about.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// Returns whether it depends on what is heard of the robot right now.
    pub fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// Returns whether a robot is one of those that the expression describes.
    pub fn matches(&self, view: &View<'_>) -> Result<bool, Undecided> {
        self.plain.decide(view).map_or_else(|| self.interpret(view), Ok)
    }

    /// Returns the columns that it compares with something.
    pub fn column_keys(&self) -> Vec<ColumnKey> {
        self.plain.asked().into_iter().filter_map(Variable::column_key).collect()
    }

    /// Returns whether a robot's row alone says that the robot is none of those.
    pub fn excludes(&self, row: &Row<'_>) -> bool {
        self.plain.decide(row) == Some(false)
    }

    fn interpret(&self, view: &View<'_>) -> Result<bool, Undecided> {
        let variables = Variables(view);
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.set_variable_resolver(&variables);
        match Value::resolve(&self.ast, &context) {
            Ok(Value::Bool(decided)) => Ok(decided),
            Ok(other) => Err(Undecided { why: self.why_no_bool(view, &other) }),
            Err(error) => Err(Undecided { why: self.why_undecided(view, &error) }),
        }
    }

    fn why_no_bool(&self, view: &View<'_>, found: &Value) -> String {
        match self.unknown(view).filter(|_| matches!(found, Value::Null)) {
            Some(member) => format!("there is no {}", member.name),
            None => format!("the expression is {}, and not true or false", found.type_of()),
        }
    }

    /// Returns a member that it names and that is unknown of this robot.
    fn unknown(&self, view: &View<'_>) -> Option<&'static Member> {
        self.members.iter().copied().find(|member| (member.read)(view) == Fact::Unknown)
    }

    fn why_undecided(&self, view: &View<'_>, error: &ExecutionError) -> String {
        match error {
            ExecutionError::UndeclaredReference(name) => match name.split_once(OF) {
                Some((_, channel)) => format!("there is no value of {channel}"),
                None => format!("there is no {name}"),
            },
            // Labels are the only map.
            ExecutionError::NoSuchKey(key) => format!("there is no label {key}"),
            other => {
                // Members that are unknown are null, so that `== null` can ask for them; all else says that types differ.
                let said = other.to_string();
                let is_of_null = ["null", "Null"].iter().any(|null| said.contains(null));
                match self.unknown(view).filter(|_| is_of_null) {
                    Some(member) => format!("there is no {}", member.name),
                    None => said,
                }
            }
        }
    }
}

/// A robot's facts as CEL's variables.
struct Variables<'v, 'a>(&'v View<'a>);

impl VariableResolver for Variables<'_, '_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let view = self.0;
        if variable == LABELS {
            return Some(CowVal::owned(labels(view)));
        }
        let asked = Variable::of(variable)?;
        match (asked, asked.read(view)) {
            // Such a member, or the age of a value of which nobody knows it, is null, so that `== null` can ask for it.
            (Variable::Member(_), Fact::Unknown) => Some(CowVal::owned(CelNull)),
            (Variable::AgeMs(channel), Fact::Unknown) => {
                view.state().channel(channel).map(|_| CowVal::owned(CelNull))
            }
            // What else is unknown has no value at all: CEL then says which name it was.
            (_, Fact::Unknown) => None,
            (_, fact) => Some(to_cel(fact)),
        }
    }
}

fn labels<'b>(view: &'b View<'_>) -> CelMap<'b> {
    let entry = |key: &'b str, value: &'b str| {
        let value: Box<dyn Val + 'b> = Box::new(CelString::from(value));
        (CelMapKey::String(CelString::from(key)), value)
    };
    CelMap::from(
        view.labels().map(|(key, value)| entry(key, value)).collect::<std::collections::HashMap<_, _>>(),
    )
}

fn to_cel<'b>(fact: Fact<'b>) -> CowVal<'b, 'b> {
    match fact {
        Fact::Unknown => CowVal::owned(CelNull),
        Fact::Bool(value) => CowVal::owned(CelBool::from(value)),
        Fact::Int(value) => CowVal::owned(CelInt::from(value)),
        Fact::Float(value) => CowVal::owned(CelDouble::from(value)),
        Fact::Text(value) => CowVal::owned(CelString::from(value)),
        Fact::Texts(values) => {
            let boxed = |value| Box::new(CelString::from(value)) as Box<dyn Val + 'b>;
            CowVal::owned(CelList::from(values.into_iter().map(boxed).collect::<Vec<_>>()))
        }
    }
}

/// Returns the channel or label that has to be there for a variable to say anything. Who asks whether there is a value
/// knows that there may be none.
fn name_of(variable: &str) -> Option<Name> {
    match Variable::of(variable)? {
        Variable::Value(channel) | Variable::Freshness(channel) | Variable::AgeMs(channel) => {
            channel.parse().ok().map(Name::Channel)
        }
        Variable::Label(key) => Some(Name::Label(key.to_owned())),
        Variable::Known(_) | Variable::Member(_) => None,
    }
}

fn depends_on_link(variable: &str) -> bool {
    match Variable::of(variable) {
        Some(Variable::Freshness(_)) => true,
        Some(Variable::Member(member)) => member.heard,
        _ => false,
    }
}

#[cfg(test)]
pub(super) mod tests;
