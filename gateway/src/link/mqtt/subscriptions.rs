//! What one client has subscribed to, and what that means: only a robot's `down` topic delivers anything.

use mqtt_protocol_core::mqtt::{
    packet::Qos,
    result_code::{SubackReasonCode, UnsubackReasonCode},
};

use muster_protocol::id::RobotId;

use super::topics::{self, TopicError};

/// The subscriptions of one client.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(Vec<Subscription>);

#[derive(Debug)]
struct Subscription {
    filter: String,
    covers_down: bool,
    qos: Qos,
}

impl Subscriptions {
    /// Takes or refuses one filter. The first filter that names a robot binds the connection to it through `robot`.
    pub(super) fn subscribe(
        &mut self,
        filter: String,
        qos: Qos,
        robot: &mut Option<RobotId>,
    ) -> SubackReasonCode {
        let parsed = match topics::parse_filter(&filter) {
            Ok(parsed) => parsed,
            Err(TopicError::Foreign) => return SubackReasonCode::NotAuthorized,
            Err(TopicError::Invalid) => return SubackReasonCode::TopicFilterInvalid,
            Err(TopicError::Shared) => return SubackReasonCode::SharedSubscriptionsNotSupported,
        };
        if robot.as_ref().is_some_and(|own| *own != parsed.robot) {
            return SubackReasonCode::NotAuthorized;
        }
        let others = self.0.iter().filter(|known| known.filter != filter).count();
        if others >= SUBSCRIPTIONS_MAX {
            return SubackReasonCode::QuotaExceeded;
        }
        *robot = Some(parsed.robot);
        self.0.retain(|known| known.filter != filter);
        let (qos, granted) = match qos {
            Qos::AtMostOnce => (Qos::AtMostOnce, SubackReasonCode::GrantedQos0),
            Qos::AtLeastOnce | Qos::ExactlyOnce => (Qos::AtLeastOnce, SubackReasonCode::GrantedQos1),
        };
        self.0.push(Subscription { filter, covers_down: parsed.covers_down, qos });
        granted
    }

    /// Ends one subscription.
    pub(super) fn unsubscribe(&mut self, filter: &str) -> UnsubackReasonCode {
        let before = self.0.len();
        self.0.retain(|known| known.filter != filter);
        if self.0.len() < before {
            UnsubackReasonCode::Success
        } else {
            UnsubackReasonCode::NoSubscriptionExisted
        }
    }

    /// Returns the quality at which `down` is delivered, if it is subscribed. One message however many filters cover it.
    pub(super) fn down(&self) -> Option<Qos> {
        self.0.iter().filter(|known| known.covers_down).map(|known| known.qos).max_by_key(|qos| *qos as u8)
    }
}

/// Most filters of one client. An agent needs one.
const SUBSCRIPTIONS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_down_delivers_and_at_most_at_qos_1() {
        let (mut subscriptions, mut robot) = (Subscriptions::default(), None);
        let granted = subscriptions.subscribe("muster/1/f/r/json".to_owned(), Qos::AtLeastOnce, &mut robot);
        assert_eq!((granted, subscriptions.down()), (SubackReasonCode::GrantedQos1, None));
        assert_eq!(robot, Some("f/r".parse().unwrap()));
        let granted = subscriptions.subscribe("muster/1/f/r/#".to_owned(), Qos::ExactlyOnce, &mut robot);
        assert_eq!((granted, subscriptions.down()), (SubackReasonCode::GrantedQos1, Some(Qos::AtLeastOnce)));
        let granted = subscriptions.subscribe("muster/1/f/r/down".to_owned(), Qos::AtMostOnce, &mut robot);
        assert_eq!((granted, subscriptions.down()), (SubackReasonCode::GrantedQos0, Some(Qos::AtLeastOnce)));
        assert_eq!(subscriptions.unsubscribe("muster/1/f/r/#"), UnsubackReasonCode::Success);
        assert_eq!(subscriptions.down(), Some(Qos::AtMostOnce));
        assert_eq!(subscriptions.unsubscribe("muster/1/f/r/#"), UnsubackReasonCode::NoSubscriptionExisted);
    }

    #[test]
    fn a_refused_filter_binds_nothing() {
        let (mut subscriptions, mut robot) = (Subscriptions::default(), None);
        for filter in ["#", "muster/1/+/r/down", "$share/g/muster/1/f/r/down", "muster/1/f/r/#/x"] {
            let refused = subscriptions.subscribe(filter.to_owned(), Qos::AtLeastOnce, &mut robot);
            assert!(refused as u8 >= 0x80, "{filter}");
        }
        assert_eq!((robot, subscriptions.down()), (None, None));
    }

    #[test]
    fn another_robot_is_refused_and_so_is_one_filter_too_many() {
        let (mut subscriptions, mut robot) = (Subscriptions::default(), Some("f/r".parse().unwrap()));
        let foreign = subscriptions.subscribe("muster/1/f/r2/down".to_owned(), Qos::AtLeastOnce, &mut robot);
        assert_eq!(foreign, SubackReasonCode::NotAuthorized);
        for n in 0..SUBSCRIPTIONS_MAX {
            let granted = subscriptions.subscribe(format!("muster/1/f/r/{n}"), Qos::AtLeastOnce, &mut robot);
            assert_eq!(granted, SubackReasonCode::GrantedQos1);
        }
        let again = subscriptions.subscribe("muster/1/f/r/3".to_owned(), Qos::AtMostOnce, &mut robot);
        assert_eq!(again, SubackReasonCode::GrantedQos0);
        let beyond = subscriptions.subscribe("muster/1/f/r/x".to_owned(), Qos::AtLeastOnce, &mut robot);
        assert_eq!(beyond, SubackReasonCode::QuotaExceeded);
    }
}
