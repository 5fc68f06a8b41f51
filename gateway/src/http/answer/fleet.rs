//! The fleet in counts.

use serde::Serialize;
use utoipa::ToSchema;

use super::{AsOfAnswer, Count, Ints, Time, Undecided, link::FreshnessCounts};
use crate::{
    fleet::{Level, Standing, Tallies},
    query::{Asked, Scene, Selection, TooLong, UndecidedRobots},
};

/// The fleet in counts, and where the log stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Fleet)]
pub(in crate::http) struct FleetAnswer {
    #[serde(flatten)]
    pub(in crate::http) counts: FleetCounts,
    /// Robots for which the question has no answer; null if there are none.
    #[schema(required = true)]
    pub(in crate::http) undecided: Option<Undecided>,
    /// Channels and labels of the question that no robot has, and that are likely typed wrongly; null if there are none.
    #[schema(required = true, examples(json!(["batery.soc"])))]
    pub(in crate::http) unheard_of: Option<Vec<String>>,
    /// Of now: not in an answer about the past.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) ingest: Option<Ingest>,
    /// Sessions that are open now: not in an answer about the past.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) sessions: Option<usize>,
    /// Of now: not in an answer about the past.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) log: Option<LogSpan>,
    /// The gateway's version.
    #[schema(examples("0.1.0"))]
    pub(in crate::http) version: &'static str,
    /// The moment in the past that is told; only where it was asked for with `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) as_of: Option<AsOfAnswer>,
    /// The moment that is told: the gateway's time, or `at`.
    pub(in crate::http) now: Time,
}

/// What comes in.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Ingest {
    /// Samples a second, lately.
    #[schema(examples(1250.5))]
    pub(in crate::http) samples_per_s: f64,
    /// Lines of plain JSON that were given up because they could not be committed and nobody keeps them.
    pub(in crate::http) json_given_up: Count,
}

/// Where the log stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct LogSpan {
    /// The log's id: offsets mean something only together with it.
    #[schema(examples("0f9e8d7c6b5a49380f9e8d7c6b5a4938"))]
    pub(in crate::http) id: String,
    /// The first offset that is held.
    pub(in crate::http) first: Count,
    /// The offset that the next record will get.
    pub(in crate::http) next: Count,
}

/// The robots in counts.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct FleetCounts {
    /// Robots that ever reported, or as many of them as the question takes.
    robots: u64,
    link: LinkCounts,
    /// Channels of all robots.
    freshness: FreshnessCounts,
    health: HealthCounts,
    /// Samples that were ever stored.
    samples: Count,
    loss: LossCounts,
    completeness: CompletenessCounts,
    /// Robots for which more than one process speaks.
    conflicts: u64,
    /// Samples that are still on robots, as those said last.
    on_robots: Count,
}

/// Robots by link.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
struct LinkCounts {
    up: u64,
    down: u64,
}

/// Robots by health.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
struct HealthCounts {
    ok: u64,
    warn: u64,
    error: u64,
    stale: u64,
}

/// What is lost.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
struct LossCounts {
    /// Samples.
    samples: Count,
    /// Robots that lost any.
    robots: u64,
}

/// Robots by completeness, and samples of which this log knows nothing.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
struct CompletenessCounts {
    /// Robots of which nothing was missing when they told last.
    whole: u64,
    /// Robots of which something is still to come.
    behind: u64,
    /// Robots that have no spool, or never told what is in it.
    not_told: u64,
    /// Samples that robots had released before this log first heard of them.
    before_this_gateway: Count,
    /// At most so many samples were held by spools that are there no more.
    unknown_up_to: Count,
}

impl FleetCounts {
    /// Counts the robots that a selection takes, and those of which nobody can tell.
    pub(in crate::http) fn of(
        scene: &Scene<'_>,
        selection: &Selection,
        ints: Ints,
    ) -> Result<(Self, UndecidedRobots), TooLong> {
        let (tallies, undecided) = tally(scene, selection)?;
        let health = |level: Level| tallies.health[level as usize];
        let standing = |standing: Standing| tallies.standings[standing as usize];
        let counts = Self {
            robots: tallies.robots,
            link: LinkCounts { up: tallies.up, down: tallies.robots - tallies.up },
            freshness: FreshnessCounts::from(&tallies.freshness),
            health: HealthCounts {
                ok: health(Level::Ok),
                warn: health(Level::Warn),
                error: health(Level::Error),
                stale: health(Level::Stale),
            },
            samples: ints.count(tallies.samples),
            loss: LossCounts { samples: ints.count(tallies.lost), robots: tallies.losers },
            completeness: CompletenessCounts {
                whole: standing(Standing::Whole),
                behind: standing(Standing::Behind),
                not_told: standing(Standing::NotTold),
                before_this_gateway: ints.count(tallies.before),
                unknown_up_to: ints.count(tallies.unknown),
            },
            conflicts: tallies.conflicts,
            on_robots: ints.count(tallies.on_robots),
        };
        Ok((counts, undecided))
    }
}

/// Counts the robots that are selected.
fn tally(scene: &Scene<'_>, selection: &Selection) -> Result<(Tallies, UndecidedRobots), TooLong> {
    let asked = Asked { selection, heard: true, names: Vec::new() };
    let scanned = scene.scan(&asked, Tallies::default, |tallies, view| {
        tallies.count(view.whole(), view.state().totals());
    })?;
    let mut all = Tallies::default();
    scanned.parts.iter().for_each(|tallies| all.add(tallies));
    Ok((all, scanned.undecided))
}
