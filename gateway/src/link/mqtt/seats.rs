//! Who is connected: one connection per client of a robot. A newer one takes the seat, and the older one is told to go.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use muster_protocol::id::RobotId;

/// All taken seats. As many as there are connections at most.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<HashMap<Name, Sitter>>);

/// A client of a robot. The same client id under another robot is another client: ids are not secret, and one robot
/// cannot push another off.
type Name = (RobotId, String);

#[derive(Debug)]
struct Sitter {
    connection: u64,
    eviction: Arc<Notify>,
}

/// A taken seat; dropping it leaves it.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    name: Name,
    connection: u64,
    eviction: Arc<Notify>,
}

impl Seats {
    /// Takes the seat of a client, from whoever sits on it.
    pub(super) fn take(self: &Arc<Self>, robot: &RobotId, client_id: &str, connection: u64) -> Seat {
        let name = (robot.clone(), client_id.to_owned());
        let eviction = Arc::new(Notify::new());
        let sitter = Sitter { connection, eviction: Arc::clone(&eviction) };
        if let Some(before) = self.lock().insert(name.clone(), sitter) {
            before.eviction.notify_one();
        }
        Seat { seats: Arc::clone(self), name, connection, eviction }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Sitter>> {
        // The map is whole between any two of its calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Waits until a newer connection has taken the seat. Cancel-safe.
    pub(super) async fn evicted(&self) {
        self.eviction.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock();
        if seats.get(&self.name).is_some_and(|sitter| sitter.connection == self.connection) {
            seats.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_newer_connection_evicts_the_older_and_keeps_the_seat_when_that_one_leaves() {
        let seats = Arc::new(Seats::default());
        let robot = "f/r".parse().unwrap();
        let first = seats.take(&robot, "agent", 1);
        assert!(first.evicted().now_or_never().is_none());
        let second = seats.take(&robot, "agent", 2);
        assert!(first.evicted().now_or_never().is_some());
        drop(first);
        let third = seats.take(&robot, "agent", 3);
        assert!(second.evicted().now_or_never().is_some());
        drop((second, third));
        assert!(seats.lock().is_empty());
    }

    #[test]
    fn another_robot_or_client_keeps_its_seat() {
        let seats = Arc::new(Seats::default());
        let first = seats.take(&"f/r".parse().unwrap(), "agent", 1);
        let _other_robot = seats.take(&"f/r2".parse().unwrap(), "agent", 2);
        let _other_client = seats.take(&"f/r".parse().unwrap(), "tool", 3);
        assert!(first.evicted().now_or_never().is_none());
    }
}
