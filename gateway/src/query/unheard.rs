//! Names of which no robot ever had anything: most of them are typed wrongly, and would sort, group and show nothing.

use super::{Name, Scene};
use crate::fleet::RobotState;

impl Scene<'_> {
    /// Returns those channels and labels that no robot has, each once; `None` if there are none, and of a fleet without
    /// robots. A name that some robot has is found with the first one that does.
    pub fn unheard_of<'n>(&self, names: impl IntoIterator<Item = &'n Name>) -> Option<Vec<String>> {
        let robots = self.fleet.robots();
        let mut unheard = Vec::new();
        for name in names {
            let has = |state: &RobotState| has(state, name);
            let is_heard = || robots.iter().any(|robot| has(&robot.read()));
            if !robots.is_empty() && !is_heard() {
                unheard.push(name.to_string());
            }
        }
        unheard.sort();
        unheard.dedup();
        Some(unheard).filter(|unheard| !unheard.is_empty())
    }
}

fn has(state: &RobotState, name: &Name) -> bool {
    match name {
        Name::Member(_) => true,
        Name::Label(key) => state.labels().get(key).is_some(),
        Name::Channel(channel) => {
            let channel = channel.as_str();
            state.channel(channel).is_some() || state.channels_of_group(channel).next().is_some()
        }
    }
}
