//! One word for how a robot is, with the reasons: what the gateway itself knows, what the robot says of itself, and what
//! thresholds find in its values.

use super::{
    conflict::Conflict,
    freshness::LinkState,
    mapping::Said,
    survey::{Freshnesses, Marks},
};

/// How a robot is: the worst of its reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing is known to be wrong.
    Ok,
    /// Someone should look.
    Warn,
    /// Something is broken.
    Error,
    /// Nothing is known of now: every value is stale, or the robot says so itself.
    Stale,
}

/// A level with the reasons for it, none if it is [`Level::Ok`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The worst of the reasons' levels.
    pub level: Level,
    /// Each reason as a short sentence for a person.
    pub reasons: Vec<String>,
}

/// What the roll-up looks at.
pub(super) struct Signs<'a> {
    pub(super) link: LinkState,
    pub(super) evidence: &'a str,
    pub(super) freshness: Freshnesses,
    pub(super) marks: Marks,
    pub(super) lost_lately: bool,
    pub(super) untracked: u64,
    pub(super) skew_ns: Option<i64>,
    pub(super) conflict: Option<&'a Conflict>,
    pub(super) said: &'a [Said],
}

/// A clock that is off by more is worth a warning: ages are wrong by as much.
pub const SKEW_NS_WARN: i64 = 5_000_000_000;

/// Returns whether a clock is off by more than [`SKEW_NS_WARN`].
pub fn is_skewed(skew_ns: i64) -> bool {
    skew_ns.saturating_abs() > SKEW_NS_WARN
}

/// A loss warns for this long after it was reported; the counters keep it for ever.
pub const LOSS_NS_WARN: i64 = 3_600_000_000_000;

/// Rolls the signs up.
pub(super) fn health(signs: &Signs<'_>) -> Health {
    let Freshnesses { fresh, late, stale, .. } = signs.freshness;
    let mut reasons = Vec::new();
    if signs.link == LinkState::Down {
        reasons.push(format!("link down: {}", signs.evidence));
    }
    if let Some(conflict) = signs.conflict {
        reasons.push(format!("another process speaks for this robot too, from {}", conflict.address));
    }
    // A robot that has sent no value yet is stale only if it cannot be heard either.
    if fresh + late == 0 && (stale > 0 || signs.link == LinkState::Down) {
        if stale > 0 {
            reasons.push("every value is stale".to_owned());
        }
        return Health { level: Level::Stale, reasons };
    }
    if fresh == 0 && late > 0 {
        reasons.push("no value is fresh".to_owned());
    }
    if signs.lost_lately {
        reasons.push("samples were lost in the last hour".to_owned());
    }
    if let Some(skew_ns) = signs.skew_ns.filter(|skew_ns| is_skewed(*skew_ns)) {
        let ahead = if skew_ns > 0 { "ahead" } else { "behind" };
        reasons.push(format!("the robot's clock is {} s {ahead}", skew_ns.saturating_abs() / 1_000_000_000));
    }
    if signs.marks.before_2020 > 0 {
        reasons.push(format!("{} times before 2020", channels_have(signs.marks.before_2020)));
    }
    if signs.marks.ahead > 0 {
        reasons.push(format!("{} times from the future", channels_have(signs.marks.ahead)));
    }
    if signs.untracked > 0 {
        reasons
            .push(format!("{} samples belong to more channels than are kept in the state", signs.untracked));
    }
    let mut level = if reasons.is_empty() { Level::Ok } else { Level::Warn };
    for Said { level: found, reason, .. } in signs.said {
        level = level.max(*found);
        reasons.push(reason.clone());
    }
    Health { level, reasons }
}

fn channels_have(count: u64) -> String {
    if count == 1 { "1 channel has".to_owned() } else { format!("{count} channels have") }
}

impl Level {
    /// Returns the name as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Stale => "stale",
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_protocol::{id::InstanceId, time::WallTime};

    use super::*;
    use crate::fleet::SaidBy;

    fn well() -> Signs<'static> {
        Signs {
            link: LinkState::Up,
            evidence: "a session is open",
            freshness: Freshnesses { fresh: 3, ..Freshnesses::default() },
            marks: Marks::default(),
            lost_lately: false,
            untracked: 0,
            skew_ns: Some(-SKEW_NS_WARN),
            conflict: None,
            said: &[],
        }
    }

    #[test]
    fn nothing_wrong_is_ok_without_reasons() {
        assert_eq!(health(&well()), Health { level: Level::Ok, reasons: vec![] });
    }

    #[test]
    fn each_sign_warns_with_its_reason() {
        let ahead = Marks { ahead: 1, ..Marks::default() };
        let before_2020 = Marks { before_2020: 1, ..Marks::default() };
        let (since, address) = (WallTime(0), "10.0.0.9:1".to_owned());
        let conflict = Conflict { since, last_at: since, address, instance: InstanceId([1; 16]) };
        let signs = [
            (Signs { conflict: Some(&conflict), ..well() }, "too, from 10.0.0.9:1"),
            (Signs { link: LinkState::Down, ..well() }, "link down"),
            (Signs { lost_lately: true, ..well() }, "lost"),
            (Signs { skew_ns: Some(SKEW_NS_WARN + 1), ..well() }, "5 s ahead"),
            (Signs { skew_ns: Some(i64::MIN), ..well() }, "behind"),
            (Signs { marks: ahead, ..well() }, "future"),
            (Signs { marks: before_2020, ..well() }, "2020"),
            (Signs { untracked: 9, ..well() }, "9 samples"),
        ];
        for (signs, words) in signs {
            let health = health(&signs);
            assert_eq!(health.level, Level::Warn);
            assert!(health.reasons.len() == 1 && health.reasons[0].contains(words), "{:?}", health.reasons);
        }
    }

    #[test]
    fn what_values_say_raises_the_level_and_lowers_nothing() {
        let said = |level| {
            [Said {
                level,
                by: SaidBy::Threshold,
                words: String::new(),
                t: None,
                reason: "low battery".to_owned(),
            }]
        };
        for (level, lost_lately, expected) in [
            (Level::Warn, false, Level::Warn),
            (Level::Error, false, Level::Error),
            (Level::Error, true, Level::Error),
            (Level::Stale, true, Level::Stale),
        ] {
            let health = health(&Signs { said: &said(level), lost_lately, ..well() });
            assert_eq!(health.level, expected);
            assert_eq!(health.reasons.last().unwrap(), "low battery");
        }
    }

    #[test]
    fn a_robot_is_stale_when_all_its_values_are_whatever_its_link_says() {
        let freshness = Freshnesses { stale: 3, ..Freshnesses::default() };
        let signs = Signs { freshness, lost_lately: true, ..well() };
        assert_eq!(health(&signs).level, Level::Stale);
        assert_eq!(health(&Signs { link: LinkState::Down, ..signs }).level, Level::Stale);
        let late = Freshnesses { stale: 3, late: 1, ..Freshnesses::default() };
        assert_eq!(health(&Signs { freshness: late, ..well() }).level, Level::Warn);
    }

    #[test]
    fn a_robot_without_values_yet_is_stale_only_when_its_link_is_down() {
        let signs = Signs { freshness: Freshnesses::default(), ..well() };
        assert_eq!(health(&signs).level, Level::Ok);
        assert_eq!(health(&Signs { link: LinkState::Down, ..signs }).level, Level::Stale);
    }
}
