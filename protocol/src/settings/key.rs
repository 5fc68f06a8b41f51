//! One row of a program's table of keys: name, kind, default, bounds, and what it is for.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::units::{Size, Span};

/// A key: its name with levels, what values it takes, and what it is for.
///
/// Built in a constant: `Key::new::<Size>("spool.limit", Kind::Size, "...").or("1GiB").within("1MiB", "1TiB")`.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name with its levels, such as `spool.sync_every`.
    pub name: &'static str,
    /// A shorter name that means the same, where the key's level was once a key itself.
    pub short_form: Option<&'static str>,
    /// What its values look like.
    pub kind: Kind,
    /// The default as text, read like an environment variable; `None` for not set.
    pub default: Option<&'static str>,
    /// The least and the greatest value, as text.
    pub bounds: Option<(&'static str, &'static str)>,
    /// What to do if nobody gave it; `None` where the program does without.
    pub remedy: Option<&'static str>,
    /// What it is for, in one line.
    pub doc: &'static str,
    /// Whether a value of the right kind is one of the key's type.
    typed: fn(Value) -> Result<(), String>,
}

/// What the values of a key look like, in TOML and as text in the environment or on the command line.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Text.
    Text,
    /// Text that is never shown.
    Secret,
    /// A [`Size`], as in `"32KiB"`.
    Size,
    /// A [`Span`], as in `"500ms"`.
    Span,
    /// A whole number.
    Count,
    /// A number, whole or with a fraction.
    Number,
    /// `true` or `false`.
    Flag,
    /// A list of numbers, texts, true and false, in the file and as text a TOML array.
    Values,
    /// A list of texts. As text, items are separated by commas, or it is a TOML array.
    List,
    /// A table of texts under names that the key's type allows, in the file below `[name]`. As text, `NAME=TEXT` separated
    /// by commas, or a TOML inline table.
    Map,
    /// A list of tables with these keys, in the file as `[[name]]`. As text, a TOML array of inline tables.
    Tables(&'static [Key]),
}

impl Key {
    /// Makes a key whose values are those of `T`: optional, without a default or bounds.
    pub const fn new<T: DeserializeOwned>(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, short_form: None, kind, default: None, bounds: None, remedy: None, doc, typed: is::<T> }
    }

    /// Takes a plain value at `level`, the name of its level, as its own: `mqtt = "..."` stands for `mqtt.listen`.
    #[must_use]
    pub const fn short_form(self, level: &'static str) -> Self {
        Self { short_form: Some(level), ..self }
    }

    /// Gives it a default.
    #[must_use]
    pub const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// Bounds a size, span or count: both ends are allowed.
    #[must_use]
    pub const fn within(self, least: &'static str, greatest: &'static str) -> Self {
        Self { bounds: Some((least, greatest)), ..self }
    }

    /// Says that somebody has to give it, and how.
    #[must_use]
    pub const fn required(self, remedy: &'static str) -> Self {
        Self { remedy: Some(remedy), ..self }
    }

    /// Whether the key goes by this name.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name || self.short_form == Some(name)
    }

    /// Reads a value from the text of an environment variable or a flag. It still has to be checked.
    pub(super) fn read_text(&self, text: &str) -> Result<Value, String> {
        match self.kind {
            Kind::Text | Kind::Secret | Kind::Size | Kind::Span => Ok(Value::String(text.to_owned())),
            Kind::Count => {
                let number = text.trim().parse().map(Value::Integer);
                number.map_err(|_| format!("`{text}` is not a whole number"))
            }
            Kind::Number => {
                let number = text.trim().parse().map(Value::Float);
                number.map_err(|_| format!("`{text}` is not a number"))
            }
            Kind::Flag => match text {
                "true" => Ok(Value::Boolean(true)),
                "false" => Ok(Value::Boolean(false)),
                _ => Err(format!("`{text}` is neither true nor false")),
            },
            Kind::List | Kind::Values | Kind::Tables(_) if text.trim_start().starts_with('[') => {
                text.trim().parse().map_err(|_| format!("`{text}` starts like a TOML array and is none"))
            }
            Kind::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
            }
            Kind::Map if text.trim_start().starts_with('{') => {
                text.trim().parse().map_err(|_| format!("`{text}` starts like a TOML table and is none"))
            }
            Kind::Map => pairs(text),
            Kind::Values => Err(VALUES_REMEDY.to_owned()),
            Kind::Tables(_) => {
                Err(format!("`{text}` is not a TOML array of tables such as [{{ key = \"value\" }}]"))
            }
        }
    }

    /// Checks a value and returns it in the form that the key keeps.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub(super) fn check(&self, value: Value) -> Result<Value, String> {
        let value = self.shaped(value)?;
        if let Some((least, greatest)) = self.bounds {
            let amount = |value: &Value| amount(self.kind, value);
            let bound = |text| self.read_text(text).ok().as_ref().and_then(amount);
            if let Some(given) = amount(&value)
                && (bound(least).is_some_and(|least| given < least)
                    || bound(greatest).is_some_and(|greatest| given > greatest))
            {
                return Err(format!("out of bounds; {least} to {greatest} are allowed"));
            }
        }
        (self.typed)(value.clone())?;
        Ok(value)
    }

    /// Checks that a value looks like the key's kind.
    fn shaped(&self, value: Value) -> Result<Value, String> {
        match (self.kind, value) {
            (Kind::Text | Kind::Secret | Kind::Size | Kind::Span, value @ Value::String(_))
            | (Kind::Count, value @ Value::Integer(_))
            | (Kind::Number, value @ (Value::Integer(_) | Value::Float(_)))
            | (Kind::Flag, value @ Value::Boolean(_)) => Ok(value),
            (Kind::List, value @ Value::String(_)) => Ok(Value::Array(vec![value])),
            (Kind::List, Value::Array(items)) if items.iter().all(Value::is_str) => Ok(Value::Array(items)),
            (Kind::Values, Value::Array(items)) if items.iter().all(is_plain) => Ok(Value::Array(items)),
            (Kind::Map, Value::Table(table)) => match table.iter().find(|(_, value)| !value.is_str()) {
                None => Ok(Value::Table(table)),
                Some((name, Value::Table(_))) => Err(format!(
                    "{name} is a table; a name with a dot in it stands in quotes, as in \"a.b\" = \"x\""
                )),
                Some((name, value)) => Err(format!("{name} = {value}: write text in quotes")),
            },
            (Kind::Tables(keys), Value::Array(tables)) => {
                let tables = tables.into_iter().enumerate();
                let checked = tables.map(|(at, table)| checked_table(keys, at + 1, table));
                Ok(Value::Array(checked.collect::<Result<_, _>>()?))
            }
            (Kind::Text | Kind::Secret, _) => Err("write text in quotes".to_owned()),
            (Kind::Size, _) => Err("a size is text with a unit, as in \"32KiB\"".to_owned()),
            (Kind::Span, _) => Err("a duration is text with a unit, as in \"500ms\"".to_owned()),
            (Kind::Count, _) => Err("write a whole number".to_owned()),
            (Kind::Number, _) => Err("write a number, as in 0.2".to_owned()),
            (Kind::Flag, _) => Err("write true or false".to_owned()),
            (Kind::Values, _) => Err(VALUES_REMEDY.to_owned()),
            (Kind::List, _) => Err("write a list of texts, as in [\"one\", \"two\"]".to_owned()),
            (Kind::Map, _) => Err(format!("write texts below [{}], as in site = \"berlin\"", self.name)),
            (Kind::Tables(_), _) => Err(format!("write tables headed [[{}]]", self.name)),
        }
    }
}

/// Whether a value is a number, a text, true or false.
fn is_plain(value: &Value) -> bool {
    matches!(value, Value::Integer(_) | Value::Float(_) | Value::String(_) | Value::Boolean(_))
}

/// Reads `NAME=TEXT` items separated by commas.
fn pairs(text: &str) -> Result<Value, String> {
    let mut table = Table::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (name, value) =
            item.split_once('=').ok_or_else(|| format!("`{item}` is not NAME=TEXT, as in site=berlin"))?;
        if table.insert(name.trim().to_owned(), Value::String(value.trim().to_owned())).is_some() {
            return Err(format!("`{name}` is given twice; give it once"));
        }
    }
    Ok(Value::Table(table))
}

/// Returns the name of the key that is written most like `name`. A key at another level counts a little less.
pub(super) fn nearest(keys: &'static [Key], name: &str) -> &'static str {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |key: &Key| {
        let whole = strsim::normalized_damerau_levenshtein(key.name, name);
        let part = strsim::normalized_damerau_levenshtein(&last(key.name), &last(name));
        whole.max(part * OTHER_LEVEL)
    };
    let best = keys.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    best.expect("a table of keys is never empty").name
}

/// Checks one of a list of tables against its own keys.
fn checked_table(keys: &'static [Key], number: usize, table: Value) -> Result<Value, String> {
    let Value::Table(table) = table else {
        return Err(format!("number {number} is not a table"));
    };
    for (name, value) in &table {
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            let nearest = nearest(keys, name);
            return Err(format!(
                "number {number} has the unknown key `{name}`; the nearest known key is `{nearest}`"
            ));
        };
        key.check(value.clone()).map_err(|reason| format!("number {number}: {name} = {value}: {reason}"))?;
    }
    for key in keys {
        if let (Some(remedy), false) = (key.remedy, table.contains_key(key.name)) {
            return Err(format!("number {number} has no {}: {remedy}", key.name));
        }
    }
    Ok(Value::Table(table))
}

/// Returns what bounds compare: bytes, microseconds or the number itself.
fn amount(kind: Kind, value: &Value) -> Option<i128> {
    match kind {
        Kind::Size => Some(i128::from(value.as_str()?.parse::<Size>().ok()?.bytes())),
        Kind::Span => i128::try_from(value.as_str()?.parse::<Span>().ok()?.duration().as_micros()).ok(),
        Kind::Count => value.as_integer().map(i128::from),
        _ => None,
    }
}

/// Whether a value is one of `T`; if not, in `T`'s own words.
fn is<T: DeserializeOwned>(value: Value) -> Result<(), String> {
    value.try_into::<T>().map(|_| ()).map_err(|error| error.message().trim_end().to_owned())
}

/// What would be right for a list of values.
const VALUES_REMEDY: &str =
    "write a list of numbers, texts in quotes, true or false, as in [-1, 255.5, nan, \"n/a\"]";

/// What likeness of the last part alone is worth beside likeness of the whole name.
const OTHER_LEVEL: f64 = 0.9;
