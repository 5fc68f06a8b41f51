//! Conditions as a test sees them come and go: one that was seen to come has to be seen to clear.
//!
//! [`raises`] waits until a condition holds and returns a [`Raised`], which only [`Raised::clears`] ends well: a test
//! that lets go of it has failed. So a call of `raises` in a test that passes stands for both, and a test over the
//! sources can tell which codes are shown.

use std::thread;

use muster_gateway::conditions::Code;
use serde_json::Value;

use crate::{gateway::Gateway, patience::wait_for};

/// Whose conditions can be asked for, again and again.
pub trait Watched {
    /// Returns the condition as the API tells it, if it holds: of a robot, or of the gateway.
    fn holds(&self, code: Code, robot: Option<&str>) -> Option<Value>;

    /// Looks until `look` returns something, and lets time pass between; fails the test if that takes too long.
    fn wait_for<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T;
}

/// A condition that came.
#[derive(Debug)]
#[must_use = "what came has to be seen to clear"]
pub struct Raised {
    code: Code,
    robot: Option<String>,
    told: Value,
    cleared: bool,
}

/// Waits until a condition holds.
pub fn raises(watched: &impl Watched, code: Code, robot: Option<&str>) -> Raised {
    let told = watched.wait_for(&format!("{} comes", code.as_str()), || watched.holds(code, robot));
    assert_eq!(told["severity"], code.severity().as_str(), "{told}");
    assert_eq!(told["remedy"], code.remedy(), "{told}");
    assert_eq!(code.is_of_robot(), robot.is_some(), "{told}");
    Raised { code, robot: robot.map(str::to_owned), told, cleared: false }
}

impl Raised {
    /// Returns what was told when it came.
    pub fn told(&self) -> &Value {
        &self.told
    }

    /// Fails the test if these words do not stand in its sentence.
    pub fn says(self, words: &[&str]) -> Self {
        let detail = self.told["detail"].as_str().expect("there is a sentence");
        for word in words {
            assert!(detail.contains(word), "{word}: {}", self.told);
        }
        self
    }

    /// Fails the test if it does not hold any more.
    pub fn goes_on(&self, watched: &impl Watched) {
        let holds = watched.holds(self.code, self.robot.as_deref());
        assert!(holds.is_some(), "{} cleared too early", self.code.as_str());
    }

    /// Waits until it holds no more.
    pub fn clears(mut self, watched: &impl Watched) {
        let gone = || watched.holds(self.code, self.robot.as_deref()).is_none().then_some(());
        watched.wait_for(&format!("{} clears", self.code.as_str()), gone);
        self.cleared = true;
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        let is_seen = self.cleared || thread::panicking();
        assert!(is_seen, "{} came, and nobody saw it clear", self.code.as_str());
    }
}

impl Watched for Gateway {
    fn holds(&self, code: Code, robot: Option<&str>) -> Option<Value> {
        // No answer is not the same as an answer without the condition.
        let path = format!("/v1/conditions?code={}&limit=1000", code.as_str());
        let page = wait_for("the gateway answers", || self.try_ask(&path).ok());
        let conditions = page["conditions"].as_array().expect("there is a list");
        conditions.iter().find(|condition| condition["robot"].as_str() == robot).cloned()
    }

    fn wait_for<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        wait_for(what, look)
    }
}
