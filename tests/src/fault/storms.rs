//! A bad network between agent and gateway.

use std::time::Duration;

use super::{Account, Story, story::ROBOT};
use crate::{
    chaos::Proxy,
    gateway::Transport,
    patience::{PATIENCE, now, wait_within},
    scene::Scene,
};

/// What a storm did, and what became of the samples.
#[derive(Debug)]
pub struct Storm {
    /// The account.
    pub account: Account,
    /// What was done how often.
    pub harm: Vec<(&'static str, u64)>,
}

/// Feeds an agent through a proxy that misbehaves for so long, then calms down.
pub fn run(scene: &Scene, transport: Transport, lasts: Duration, seed: u64) -> Storm {
    let gateway = scene.gateway();
    let upstream = gateway.address(transport);
    let mut proxy = Proxy::start(transport, upstream, seed);
    let ca = gateway.ca();
    let plan = scene.agent(ROBOT).arg("--gateway").arg(proxy.url());
    let plan = plan.arg("--ca").arg(ca.to_str().expect("temporary paths are text"));
    let plan = plan.set("LINK__ACK_TIMEOUT", "500ms");
    let mut story = Story::with(scene, gateway, plan);
    story.wait_for_traffic();
    proxy.storm();
    let (start, before) = (now(), story.rows_fed());
    let over = wait_within(2 * lasts + PATIENCE, || {
        // Rows come as evenly as time passes, so that there is something under way in each mood.
        let due = start.elapsed().as_millis() * ROWS_PER_S / 1000;
        while u128::from(story.rows_fed() - before) < due {
            story.feed(1);
        }
        (start.elapsed() >= lasts).then_some(())
    });
    over.expect("rows are taken while the network misbehaves");
    proxy.calm();
    story.drain();
    Storm { account: story.account(), harm: proxy.harm() }
}

/// What a slow disk takes, ten rows at a sync.
const ROWS_PER_S: u128 = 300;
