//! A bad network between agent and gateway.

use std::time::Duration;

use super::{Account, Story, story::ROBOT};
use crate::{
    chaos::Proxy,
    gateway::Transport,
    patience::{now, wait_until},
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
    let mut story = Story::with(scene, gateway, plan, ROWS_MAX);
    story.wait_for_traffic();
    proxy.storm();
    let (start, rows) = (now(), story.rows_left());
    wait_until("the rows are fed", || {
        // They come as evenly as time passes, so that there is something under way in each mood.
        let due = rows as u128 * start.elapsed().as_millis() / lasts.as_millis();
        while (rows - story.rows_left()) as u128 <= due {
            if !story.feed(1) {
                return true;
            }
        }
        false
    });
    proxy.calm();
    story.drain();
    Storm { account: story.account(), harm: proxy.harm() }
}

/// Rows of the log that are fed: few enough that a slow disk takes them, ten at a sync, within the storm.
const ROWS_MAX: usize = 5_000;
