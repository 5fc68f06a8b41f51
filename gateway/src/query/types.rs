//! What parts of an expression are, as far as that is known before it runs.

use super::Kind;

/// What a part of an expression is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// Only a robot can tell: a channel's value, or what is computed of it.
    Any,
    /// Nothing.
    Null,
    /// True or false.
    Bool,
    /// A number; whole ones and fractions compare by their size.
    Number,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// A list of texts.
    Texts,
    /// A list of anything.
    List,
    /// A map.
    Map,
}

impl Type {
    /// Returns what a name for an element stands for while a macro goes through a list of this type.
    pub(super) fn of_element(self) -> Self {
        match self {
            Self::Texts => Self::Text,
            _ => Self::Any,
        }
    }

    /// Returns what one of two is that are chosen between.
    pub(super) fn or(self, other: Self) -> Self {
        if self == other { self } else { Self::Any }
    }

    /// Returns whether two can be asked which is greater.
    pub(super) fn has_order_with(self, other: Self) -> bool {
        let has_order =
            |kind| matches!(kind, Self::Any | Self::Bool | Self::Number | Self::Text | Self::Bytes);
        has_order(self) && has_order(other) && self.may_equal(other)
    }

    /// Returns whether two can be equal. Anything may be unknown, which is null.
    pub(super) fn may_equal(self, other: Self) -> bool {
        let is_list = |kind| matches!(kind, Self::Texts | Self::List);
        let is_open = |kind| matches!(kind, Self::Any | Self::Null);
        is_open(self) || is_open(other) || self == other || is_list(self) && is_list(other)
    }

    /// Says what it is.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Texts => "a list of texts",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }
}

impl From<Kind> for Type {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Bool => Self::Bool,
            Kind::Int | Kind::Time | Kind::Float => Self::Number,
            Kind::Text => Self::Text,
            Kind::Texts => Self::Texts,
        }
    }
}
