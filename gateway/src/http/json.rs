//! How values stand in JSON: floats always with a `.` or an exponent, integers never; what JSON cannot say beside it.

use muster_protocol::{base64, id::Offset, sample::Value, time::WallTime};
use serde_json::{Map, Value as Json};

/// How 64-bit integers and times are printed: JavaScript's numbers hold only 53 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ints {
    /// As numbers.
    Numbers,
    /// In quotes.
    Strings,
}

impl Ints {
    /// Returns a count.
    pub(super) fn count(self, n: u64) -> Json {
        match self {
            Self::Numbers => n.into(),
            Self::Strings => n.to_string().into(),
        }
    }

    /// Returns an integer.
    pub(super) fn int(self, n: i64) -> Json {
        match self {
            Self::Numbers => n.into(),
            Self::Strings => n.to_string().into(),
        }
    }

    /// Returns a time in nanoseconds since 1970, or null.
    pub(super) fn time(self, t: Option<WallTime>) -> Json {
        t.map_or(Json::Null, |t| self.int(t.0))
    }

    /// Returns an offset.
    pub(super) fn offset(self, offset: Offset) -> Json {
        self.count(offset.0)
    }

    /// Sets `v` to a sample's value, and `f` or `b` where JSON has no such value.
    pub(super) fn set_value(self, value: &Value, object: &mut Map<String, Json>) {
        let v = match value {
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => self.int(*value),
            Value::Float(value) => (*value).into(),
            Value::Text(value) => value.as_str().into(),
            Value::Bytes(_) => Json::Null,
        };
        object.insert("v".to_owned(), v);
        if let Value::Float(value) = value
            && let Some(name) = non_finite(*value)
        {
            object.insert("f".to_owned(), name.into());
        }
        if let Value::Bytes(bytes) = value {
            let mut text = Vec::new();
            base64::encode(bytes, &mut text);
            object.insert("b".to_owned(), String::from_utf8_lossy(&text).into());
        }
    }
}

/// Returns the name of a float that JSON cannot say.
pub(super) fn non_finite(value: f64) -> Option<&'static str> {
    match value {
        value if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

/// Returns nanoseconds as whole milliseconds, or null.
pub(super) fn ms(nanos: Option<i64>) -> Json {
    nanos.map_or(Json::Null, |nanos| (nanos / 1_000_000).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(value: &Value, ints: Ints) -> String {
        let mut object = Map::new();
        ints.set_value(value, &mut object);
        Json::Object(object).to_string()
    }

    #[test]
    fn values_as_the_contract_prints_them() {
        let table = [
            (Value::Bool(true), r#"{"v":true}"#),
            (Value::Int(81), r#"{"v":81}"#),
            (Value::Int(i64::MIN), r#"{"v":-9223372036854775808}"#),
            (Value::Float(81.0), r#"{"v":81.0}"#),
            (Value::Float(-0.0), r#"{"v":-0.0}"#),
            (Value::Float(1e300), r#"{"v":1e+300}"#),
            (Value::Float(f64::NAN), r#"{"f":"NaN","v":null}"#),
            (Value::Float(f64::NEG_INFINITY), r#"{"f":"-Infinity","v":null}"#),
            (Value::Text("a\"b".into()), r#"{"v":"a\"b"}"#),
            (Value::Bytes(vec![0xfb, 0xff]), r#"{"b":"+/8=","v":null}"#),
        ];
        for (value, text) in table {
            assert_eq!(printed(&value, Ints::Numbers), text);
        }
        assert_eq!(printed(&Value::Int(5), Ints::Strings), r#"{"v":"5"}"#);
        assert_eq!(printed(&Value::Float(5.0), Ints::Strings), r#"{"v":5.0}"#);
    }
}
