//! What may be asked of a robot, by name: the same words as the paths in the API's answers.

use std::{fmt, str::FromStr};

use muster_protocol::id::{ChannelName, ParseIdError};

use super::{Fact, Kind, View};
use crate::{fleet::LinkState, record::Transport};

/// A name that has a fact for each robot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A member of the state, such as `link.state`.
    Member(&'static Member),
    /// A label, as `labels.site`.
    Label(String),
    /// A channel's newest value, as `battery.soc`. `channels.` in front says so where a member has the same name.
    Channel(ChannelName),
}

/// Names separated by commas, at most [`NAMES_MAX`]; none of an empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<Name>);

/// A member of a robot's state that is one value.
pub struct Member {
    /// Its path in the API's answers, or what is said instead of a path: `link.up`, `id`.
    pub name: &'static str,
    /// A shorter word for it, which is taken wherever the name is.
    pub also: Option<&'static str>,
    /// What it is, where it is known.
    pub kind: Kind,
    /// Whether it depends on what is heard of the robot right now.
    pub heard: bool,
    /// What it says, for a person.
    pub doc: &'static str,
    pub(super) read: Read,
    /// What it is sorted by, where that is not the order of its texts.
    pub(super) rank: Option<Read>,
}

/// Reads a member of a robot.
type Read = for<'v> fn(&'v View<'_>) -> Fact<'v>;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It begins like a member of the state and is none.
    #[error(
        "a robot has no `{name}`; the nearest that it has is `{nearest}`, and a channel of that name is `channels.{name}`"
    )]
    UnknownMember {
        /// What was asked for.
        name: String,
        /// The member that is written most like it.
        nearest: &'static str,
    },
    /// It is no member and cannot be a channel.
    #[error("`{name}` is neither a member of a robot's state nor a channel's name: {why}")]
    NoName {
        /// What was asked for.
        name: String,
        /// What is wrong with it as a channel's name.
        why: ParseIdError,
    },
    /// There are too many.
    #[error("{count} names are too many; at most {NAMES_MAX} are taken")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// Most names in one list.
pub const NAMES_MAX: usize = 8;

/// Members of a robot's state by name, in the order of the alphabet.
pub const MEMBERS: &[Member] = &[
    heard("agent.version", Kind::Text, "the agent's version", |view| text(view.state().agent_version())),
    heard("battery.age_ms", Kind::Int, "how old the charge of the battery is", |view| {
        ms(view.battery().and_then(|battery| battery.seen.age_ns))
    }),
    heard("battery.charge", Kind::Float, "how full the battery is, from 0 to 1", |view| {
        float(view.battery().and_then(|battery| battery.charge))
    }),
    heard("battery.charging", Kind::Bool, "whether the battery charges", |view| {
        view.battery().and_then(|battery| battery.charging).map_or(Fact::Unknown, Fact::Bool)
    }),
    heard("battery.freshness", Kind::Text, "fresh, late or stale", |view| {
        text(view.battery().map(|battery| battery.seen.freshness.as_str()))
    }),
    plain("channels", Kind::Int, "how many channels there are", |view| count(view.state().channel_count())),
    heard("clock.skew_ms", Kind::Int, "how far the robot's clock is ahead of the gateway's", |view| {
        ms(view.whole().skew_ns)
    }),
    heard(
        "completeness.on_robot",
        Kind::Int,
        "samples that are still on the robot, as it said last",
        |view| {
            let told = view.whole().completeness.on_robot;
            told.map_or(Fact::Unknown, |told| Fact::count(told.samples))
        },
    )
    .also("on_robot"),
    heard("completeness.standing", Kind::Text, "whole, behind or not_told", |view| {
        view.whole().completeness.standing.as_str().into()
    }),
    heard("completeness.unknown_up_to", Kind::Int, "samples at most that a lost spool held", |view| {
        Fact::count(view.whole().completeness.unknown_up_to)
    }),
    heard("completeness.whole_up_to", Kind::Time, "when what is stored is whole up to", |view| {
        Fact::or_unknown(view.whole().completeness.whole_up_to.map(|at| at.0))
    }),
    heard("conflict", Kind::Bool, "whether another process speaks for the robot too", |view| {
        Fact::Bool(view.whole().conflict.is_some())
    }),
    plain("fleet", Kind::Text, "the fleet's name", |view| view.id().fleet().into()),
    heard("freshness.fresh", Kind::Int, "channels whose value is fresh", |view| {
        Fact::count(view.whole().freshness.fresh)
    }),
    heard("freshness.late", Kind::Int, "channels whose value is late", |view| {
        Fact::count(view.whole().freshness.late)
    }),
    heard("freshness.stale", Kind::Int, "channels whose value is stale", |view| {
        Fact::count(view.whole().freshness.stale)
    }),
    heard("health.level", Kind::Text, "ok, warn, error or stale", |view| {
        view.whole().health.level.as_str().into()
    })
    .ranked(|view| Fact::Int(view.whole().health.level as i64))
    .also("health"),
    heard("health.reasons", Kind::Texts, "why, as a list of sentences", |view| {
        let reasons = view.whole().health.reasons.iter();
        Fact::Texts(reasons.map(|reason| reason.as_str().into()).collect())
    }),
    plain("id", Kind::Text, "fleet and name, as berlin/robot-7", |view| view.id().as_str().into()),
    heard("link.address", Kind::Text, "from where the robot is or was connected", |view| {
        text(view.link().address.as_deref())
    }),
    heard("link.evidence", Kind::Text, "what says whether the link is up", |view| {
        view.link().evidence.as_str().into()
    }),
    heard("link.last_heard", Kind::Time, "when anything was heard last", |view| {
        Fact::or_unknown(view.link().last_heard.map(|at| at.0))
    })
    .also("last_heard"),
    heard("link.last_heard_age_ms", Kind::Int, "how long ago anything was heard", |view| {
        ms(view.link().last_heard.map(|at| view.now().nanos_since(at)))
    }),
    heard("link.since", Kind::Time, "since when the link is up or down", |view| {
        Fact::or_unknown(view.link().since.map(|at| at.0))
    }),
    heard("link.state", Kind::Text, "up or down", |view| view.link().state.as_str().into()).also("link"),
    heard("link.transport", Kind::Text, "quic, mqtt or mqtt_json", |view| {
        text(view.link().transport.map(Transport::as_str))
    }),
    heard("link.up", Kind::Bool, "whether the robot can be heard", |view| {
        Fact::Bool(view.link().state == LinkState::Up)
    }),
    plain("loss.last_at", Kind::Time, "when a loss was reported last", |view| {
        Fact::or_unknown(view.state().totals().last_loss.map(|at| at.0))
    }),
    plain("loss.samples", Kind::Int, "samples that are lost", |view| {
        Fact::count(view.state().totals().lost_samples())
    })
    .also("lost"),
    plain("name", Kind::Text, "the robot's name within its fleet", |view| view.id().robot().into()),
    heard("newest_age_ms", Kind::Int, "the age of the newest value of all", |view| ms(view.newest_age_ns())),
    heard("pose.age_ms", Kind::Int, "how old the place on a map is", |view| {
        ms(view.pose().and_then(|pose| pose.seen.age_ns))
    }),
    heard("pose.freshness", Kind::Text, "fresh, late or stale", |view| {
        text(view.pose().map(|pose| pose.seen.freshness.as_str()))
    }),
    heard("pose.heading", Kind::Float, "radians from the x axis towards the y axis", |view| {
        float(view.pose().and_then(|pose| pose.heading))
    }),
    heard("pose.map", Kind::Text, "the map's name", |view| text(view.pose().and_then(|pose| pose.map))),
    heard("pose.x", Kind::Float, "metres on the map", |view| float(view.pose().map(|pose| pose.x))),
    heard("pose.y", Kind::Float, "metres on the map", |view| float(view.pose().map(|pose| pose.y))),
    heard("position.age_ms", Kind::Int, "how old the position is", |view| {
        ms(view.position().and_then(|position| position.seen.age_ns))
    }),
    heard("position.altitude", Kind::Float, "metres", |view| {
        float(view.position().and_then(|position| position.altitude))
    }),
    heard("position.freshness", Kind::Text, "fresh, late or stale", |view| {
        text(view.position().map(|position| position.seen.freshness.as_str()))
    }),
    heard("position.latitude", Kind::Float, "degrees north", |view| {
        float(view.position().map(|position| position.latitude))
    }),
    heard("position.longitude", Kind::Float, "degrees east", |view| {
        float(view.position().map(|position| position.longitude))
    }),
    plain("robot", Kind::Text, "the same as id", |view| view.id().as_str().into()),
    plain("samples", Kind::Int, "samples that are stored", |view| Fact::count(view.state().totals().samples)),
    heard("version", Kind::Text, "the version of the robot's software", |view| {
        view.version().map_or(Fact::Unknown, |version| Fact::Text(version.v.clone()))
    }),
];

/// What a label's name begins with.
const LABELS: &str = "labels.";

/// What a channel's name may begin with, to say that it is one.
const CHANNELS: &str = "channels.";

/// Beginnings of members under which no channel is looked for without saying so: a slip of the pen is an error there.
/// Channels of a battery or a position are common.
const RESERVED: [&str; 9] =
    ["agent.", "clock.", "completeness.", "conflict.", "freshness.", "health.", "labels.", "link.", "loss."];

impl Name {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if let Some(member) = Member::find(text) {
            return Ok(Self::Member(member));
        }
        if let Some(key) = text.strip_prefix(LABELS).filter(|key| !key.is_empty()) {
            return Ok(Self::Label(key.to_owned()));
        }
        if RESERVED.iter().any(|beginning| text.starts_with(beginning)) {
            return Err(NameError::UnknownMember { name: text.to_owned(), nearest: Member::nearest(text) });
        }
        let channel = text.strip_prefix(CHANNELS).unwrap_or(text);
        ChannelName::new(channel)
            .map(Self::Channel)
            .map_err(|why| NameError::NoName { name: text.chars().take(SHOWN_CHARS_MAX).collect(), why })
    }

    /// Returns the channel of which it is the name.
    pub(super) fn as_channel(&self) -> Option<&str> {
        match self {
            Self::Channel(channel) => Some(channel.as_str()),
            Self::Label(_) | Self::Member(_) => None,
        }
    }

    /// Returns whether it is the robot's own.
    pub(super) fn is_id(&self) -> bool {
        matches!(self, Self::Member(member) if ["id", "robot"].contains(&member.name))
    }

    /// Returns whether what it stands for depends on what is heard of the robot right now.
    pub fn is_heard(&self) -> bool {
        matches!(self, Self::Member(member) if member.heard)
    }
}

impl Names {
    /// Returns them in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Name> {
        self.0.iter()
    }

    /// Returns whether what one of them stands for depends on what is heard of the robot right now. How fresh a channel
    /// is may depend on it too.
    pub(super) fn is_heard(&self) -> bool {
        self.0.iter().any(|name| name.is_heard() || matches!(name, Name::Channel(_)))
    }
}

impl FromStr for Names {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let count = text.split(',').count();
        if count > NAMES_MAX {
            return Err(NameError::TooMany { count });
        }
        text.split(',').map(|name| Name::parse(name.trim())).collect::<Result<_, _>>().map(Self)
    }
}

impl Member {
    const fn ranked(self, rank: Read) -> Self {
        Self { rank: Some(rank), ..self }
    }

    const fn also(self, word: &'static str) -> Self {
        Self { also: Some(word), ..self }
    }

    /// Returns the member of this name, or with this word for it.
    pub fn find(name: &str) -> Option<&'static Self> {
        let by_name = MEMBERS.binary_search_by_key(&name, |member| member.name).ok().map(|at| &MEMBERS[at]);
        by_name.or_else(|| MEMBERS.iter().find(|member| member.also == Some(name)))
    }

    /// Returns the name that is written most like `name`.
    pub(super) fn nearest(name: &str) -> &'static str {
        let likeness = |member: &&Self| strsim::normalized_damerau_levenshtein(member.name, name);
        let best = MEMBERS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        best.expect("there are members").name
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(member) => out.write_str(member.name),
            Self::Label(key) => write!(out, "{LABELS}{key}"),
            Self::Channel(channel) => out.write_str(channel.as_str()),
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name)
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Member {}

const fn plain(name: &'static str, kind: Kind, doc: &'static str, read: Read) -> Member {
    Member { name, also: None, kind, heard: false, doc, read, rank: None }
}

const fn heard(name: &'static str, kind: Kind, doc: &'static str, read: Read) -> Member {
    Member { heard: true, ..plain(name, kind, doc, read) }
}

fn text(text: Option<&str>) -> Fact<'_> {
    text.map_or(Fact::Unknown, Fact::from)
}

fn float(number: Option<f64>) -> Fact<'static> {
    number.map_or(Fact::Unknown, Fact::Float)
}

fn count(n: usize) -> Fact<'static> {
    Fact::count(n as u64)
}

fn ms(nanos: Option<i64>) -> Fact<'static> {
    Fact::or_unknown(nanos.map(|nanos| nanos / 1_000_000))
}

/// A name from outside is shown up to here.
const SHOWN_CHARS_MAX: usize = 80;

#[cfg(test)]
mod tests;
