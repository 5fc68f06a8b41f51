//! SIGKILL, over and over, of agent and gateway during load.

use super::{Account, Story};
use crate::{dice::Dice, gateway::Transport, scene::Scene};

/// Kills agent and gateway so often each, in an order and at moments that the seed decides, and returns what became of
/// the samples.
pub fn run(scene: &Scene, transport: Transport, kills: usize, seed: u64) -> Account {
    let mut story = Story::new(scene, transport);
    let mut dice = Dice::new(seed);
    // Gateways that are still to be killed, and agents.
    let mut left = [kills, kills];
    while left != [0, 0] {
        let agent = left[0] == 0 || (left[1] > 0 && dice.per_mille(500));
        // Mostly there is traffic between two kills; at times the next one comes during the recovery.
        if dice.per_mille(600) {
            story.wait_for_traffic();
        }
        story.feed(pieces(&mut dice));
        if agent {
            story.kill_agent();
            // Now and then the gateway goes while there is no agent.
            if left[0] > 0 && dice.per_mille(200) {
                left[0] -= 1;
                story.gateway.kill();
                story.gateway.start_again();
            }
            story.start_agent();
            left[1] -= 1;
        } else {
            story.gateway.kill();
            story.feed(pieces(&mut dice));
            story.gateway.start_again();
            left[0] -= 1;
        }
    }
    story.wait_for_traffic();
    story.drain();
    story.account()
}

/// Chunks of rows that are fed before the next kill: batches, syncs, acks and commits are under way then.
fn pieces(dice: &mut Dice) -> usize {
    usize::try_from(dice.below(6)).expect("it is below 6")
}
