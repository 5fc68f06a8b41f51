//! What a variable of an expression stands for, and what it says of a robot.

use super::{
    Fact, View,
    name::Member,
    syntax::{AGE_MS, FRESHNESS, KNOWN, LABELS, OF, VALUE},
};
use crate::fleet::{Cell, ColumnKey, Row};

/// One thing that an expression asks of a robot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Variable<S> {
    /// A channel's newest value.
    Value(S),
    /// A channel's freshness, or the worst of a group's.
    Freshness(S),
    /// The age of a channel's newest value, in milliseconds.
    AgeMs(S),
    /// Whether a channel has a value.
    Known(S),
    /// A label's value.
    Label(S),
    /// A member of the robot's state.
    Member(&'static Member),
}

impl<'n> Variable<&'n str> {
    /// Reads a variable's name, as [`syntax`](super::syntax) made it.
    pub(super) fn of(name: &'n str) -> Option<Self> {
        if let Some((function, channel)) = name.split_once(OF) {
            return match function {
                VALUE => Some(Self::Value(channel)),
                FRESHNESS => Some(Self::Freshness(channel)),
                AGE_MS => Some(Self::AgeMs(channel)),
                KNOWN => Some(Self::Known(channel)),
                _ => None,
            };
        }
        let label = name.strip_prefix(LABELS).and_then(|rest| rest.strip_prefix('.'));
        label.map(Self::Label).or_else(|| Member::find(name).map(Self::Member))
    }

    /// Returns the same with a name of its own.
    pub(super) fn into_owned(self) -> Variable<Box<str>> {
        match self {
            Self::Value(channel) => Variable::Value(channel.into()),
            Self::Freshness(channel) => Variable::Freshness(channel.into()),
            Self::AgeMs(channel) => Variable::AgeMs(channel.into()),
            Self::Known(channel) => Variable::Known(channel.into()),
            Self::Label(key) => Variable::Label(key.into()),
            Self::Member(member) => Variable::Member(member),
        }
    }
}

/// Who knows something of a robot. What is not known there is unknown, which decides nothing.
pub(super) trait Facts {
    /// Returns what a variable says of the robot.
    fn fact<S: AsRef<str>>(&self, asked: &Variable<S>) -> Fact<'_>;
}

impl Facts for View<'_> {
    fn fact<S: AsRef<str>>(&self, asked: &Variable<S>) -> Fact<'_> {
        asked.read(self)
    }
}

impl Facts for Row<'_> {
    fn fact<S: AsRef<str>>(&self, asked: &Variable<S>) -> Fact<'_> {
        let cell = match asked {
            Variable::Value(channel) => self.channel(channel.as_ref()),
            Variable::Label(key) => self.label(key.as_ref()),
            _ => return Fact::Unknown,
        };
        match cell {
            Cell::Elsewhere => Fact::Unknown,
            Cell::Bool(value) => Fact::Bool(*value),
            Cell::Int(value) => Fact::Int(*value),
            Cell::Float(value) => Fact::Float(*value),
            Cell::Text(value) => (&**value).into(),
        }
    }
}

impl<S: AsRef<str>> Variable<S> {
    /// Returns the column that says the same, if there can be one.
    pub(super) fn column_key(&self) -> Option<ColumnKey> {
        match self {
            Self::Value(channel) => Some(ColumnKey::Channel(channel.as_ref().into())),
            Self::Label(key) => Some(ColumnKey::Label(key.as_ref().into())),
            _ => None,
        }
    }

    /// Returns what it says of a robot.
    pub(super) fn read<'v>(&self, view: &'v View<'_>) -> Fact<'v> {
        match self {
            Self::Value(channel) => view.value(channel.as_ref()),
            Self::Freshness(channel) => view.freshness(channel.as_ref()).as_str().into(),
            Self::AgeMs(channel) => {
                let age_ns = view.channel(channel.as_ref()).and_then(|channel| channel.age_ns);
                Fact::or_unknown(age_ns.map(|age_ns| age_ns / 1_000_000))
            }
            Self::Known(channel) => Fact::Bool(view.state().channel(channel.as_ref()).is_some()),
            Self::Label(key) => view.label(key.as_ref()),
            Self::Member(member) => (member.read)(view),
        }
    }
}
