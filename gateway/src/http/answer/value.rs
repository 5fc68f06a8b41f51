//! How a sample's value stands in JSON: floats always with a `.` or an exponent, integers never; what JSON cannot say
//! stands beside it.

use muster_protocol::{base64, sample::Value};
use serde::{Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{Object, Schema, SchemaType, Type},
    },
};

use super::integer::Ints;

/// The member `v`.
#[derive(Clone, Copy, Debug)]
pub(super) struct V<'a> {
    value: &'a Value,
    ints: Ints,
}

/// A sample's value: `v`, and `f` or `b` where JSON has no such value.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SampleValue<'a> {
    /// The value; null for bytes and for floats that JSON cannot say.
    v: V<'a>,
    /// Only with a float that JSON cannot say: `NaN`, `Infinity` or `-Infinity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = super::word::non_finite)]
    f: Option<&'static str>,
    /// Only with bytes: in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, content_encoding = "base64")]
    b: Option<String>,
}

impl<'a> SampleValue<'a> {
    pub(super) fn new(value: &'a Value, ints: Ints) -> Self {
        let f = if let Value::Float(value) = value { non_finite(*value) } else { None };
        let b = if let Value::Bytes(bytes) = value { Some(base64_of(bytes)) } else { None };
        Self { v: V { value, ints }, f, b }
    }
}

impl Serialize for V<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Bool(value) => to.serialize_bool(*value),
            Value::Int(value) => self.ints.print(*value, to),
            // serde_json prints null for what is not finite.
            Value::Float(value) => to.serialize_f64(*value),
            Value::Text(value) => to.serialize_str(value),
            Value::Bytes(_) => to.serialize_none(),
        }
    }
}

impl PartialSchema for V<'_> {
    fn schema() -> RefOr<Schema> {
        let types = vec![Type::Boolean, Type::Integer, Type::Number, Type::String, Type::Null];
        let meaning = "Integers and floats are told apart: a float always has a `.` or an exponent, an integer \
                       never. Integers are in quotes with `?int64=string`.";
        let examples = [serde_json::json!(0.81), serde_json::json!(9), serde_json::json!("auto")];
        let value = Object::builder().schema_type(SchemaType::Array(types)).description(Some(meaning));
        value.examples(examples).build().into()
    }
}

impl ToSchema for V<'_> {
    fn name() -> std::borrow::Cow<'static, str> {
        "Value".into()
    }
}

/// Returns the name of a float that JSON cannot say.
pub(in crate::http) fn non_finite(value: f64) -> Option<&'static str> {
    match value {
        value if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

fn base64_of(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    base64::encode(bytes, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(value: &Value, ints: Ints) -> String {
        serde_json::to_string(&SampleValue::new(value, ints)).unwrap()
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
            (Value::Float(f64::NAN), r#"{"v":null,"f":"NaN"}"#),
            (Value::Float(f64::NEG_INFINITY), r#"{"v":null,"f":"-Infinity"}"#),
            (Value::Text("a\"b".into()), r#"{"v":"a\"b"}"#),
            (Value::Bytes(vec![0xfb, 0xff]), r#"{"v":null,"b":"+/8="}"#),
        ];
        for (value, text) in table {
            assert_eq!(printed(&value, Ints::Numbers), text);
        }
        assert_eq!(printed(&Value::Int(5), Ints::Strings), r#"{"v":"5"}"#);
        assert_eq!(printed(&Value::Float(5.0), Ints::Strings), r#"{"v":5.0}"#);
    }
}
