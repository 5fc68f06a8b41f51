//! Ten thousand robots that lose one gateway, in virtual time: when each is back.

use std::collections::BTreeMap;

use muster_protocol::{
    id::LogId,
    message::{Welcome, Window},
    session::sender::SenderConfig,
};

use super::*;

const CLOCK: Clock = Clock { boot: 1, mono: MonoTime(0), wall: WallTime(0), synchronised: false };
const ROBOTS: u64 = 10_000;

/// How a robot finds out that nobody is there.
#[derive(Clone, Copy, Debug)]
enum Via {
    /// Nothing answers for 10 s; what is asked again after 1, 3 and 7 s may be answered.
    Quic,
    /// The machine refuses at once.
    Mqtt,
}

struct Fleet {
    via: Via,
    robots: Vec<Delivery>,
    /// When each has something to do.
    due: BTreeMap<(MonoTime, usize), Due>,
    back_at: MonoTime,
    /// How long after the gateway's return each connected.
    connected: Vec<Duration>,
}

#[derive(Clone, Copy, Debug)]
enum Due {
    Timeout,
    Connected,
    Failed,
}

fn at(seconds: f64) -> MonoTime {
    MonoTime::default() + Duration::from_secs_f64(seconds)
}

fn robot(seed: u64) -> Delivery {
    let who = Who {
        robot: "a/b".parse().unwrap(),
        instance: InstanceId([1; 16]),
        version: "1",
        labels: Labels::default(),
    };
    let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30), seed)
        .with_return_spread(Duration::from_secs(10));
    let mut robot =
        Delivery::new(who, Sender::new(SenderConfig::DEFAULT), backoff, 1, Duration::from_secs(15));
    robot.handle_timeout(CLOCK, at(0.0));
    welcome(&mut robot, at(0.0));
    robot
}

fn welcome(robot: &mut Delivery, now: MonoTime) {
    robot.handle_connected(None, CLOCK, now);
    let welcome = Welcome {
        instance: InstanceId([2; 16]),
        log: LogId([3; 16]),
        session: 1,
        window: Window { bytes: 1 << 20, batches: 256 },
        have: vec![],
        schemas: vec![],
        now: WallTime(0),
    };
    robot.handle_frame(&Message::Welcome(welcome).to_frame(), now).unwrap();
    while robot.poll_action(now).is_some() {}
}

impl Fleet {
    /// All lose their session after 100 s, and the gateway is back after a while.
    fn new(via: Via, away: f64) -> Self {
        let lost = at(100.0);
        let mut robots: Vec<_> = (0..ROBOTS).map(robot).collect();
        let mut due = BTreeMap::new();
        for (number, robot) in robots.iter_mut().enumerate() {
            robot.handle_closed_by_gateway(lost);
            due.insert((robot.poll_timeout().unwrap(), number), Due::Timeout);
        }
        Self { via, robots, due, back_at: at(100.0 + away), connected: Vec::new() }
    }

    fn run(mut self) -> Vec<Duration> {
        while let Some(((now, number), due)) = self.due.pop_first() {
            let robot = &mut self.robots[number];
            match due {
                Due::Timeout => robot.handle_timeout(CLOCK, now),
                Due::Failed => robot.handle_closed(now),
                Due::Connected => {
                    self.connected.push(now.since(self.back_at));
                    welcome(robot, now);
                    continue;
                }
            }
            let connects = std::iter::from_fn(|| robot.poll_action(now))
                .any(|action| matches!(action, Action::Connect(_)));
            let (next, due) = if connects {
                self.attempt(now)
            } else {
                (robot.poll_timeout().expect("it waits for its next attempt"), Due::Timeout)
            };
            self.due.insert((next, number), due);
        }
        self.connected
    }

    fn attempt(&self, now: MonoTime) -> (MonoTime, Due) {
        let (asked, patience): (&[u64], u64) = match self.via {
            Via::Quic => (&[0, 1, 3, 7], 10),
            Via::Mqtt => (&[0], 0),
        };
        let answered =
            asked.iter().map(|after| now + Duration::from_secs(*after)).find(|at| *at >= self.back_at);
        let soon = Duration::from_millis(1);
        answered.map_or((now + Duration::from_secs(patience) + soon, Due::Failed), |at| (at, Due::Connected))
    }
}

#[test]
fn ten_thousand_robots_come_back_within_a_minute_and_without_a_peak() {
    for via in [Via::Quic, Via::Mqtt] {
        for away in [0.0, 2.0, 20.0, 120.0] {
            let connected = Fleet::new(via, away).run();
            assert_eq!(connected.len() as u64, ROBOTS);
            let last = connected.iter().max().unwrap().as_secs_f64();
            let mut of_second = BTreeMap::new();
            for at in &connected {
                *of_second.entry(at.as_secs()).or_insert(0_u32) += 1;
            }
            let peak = *of_second.values().max().unwrap();
            let mean = ROBOTS as f64 / last.max(1.0);
            let all =
                format!("{via:?}, away {away} s: last after {last:.1} s, peak {peak}/s, mean {mean:.0}/s");
            assert!(last < 60.0, "{all}");
            assert!(f64::from(peak) < 6.0 * mean && peak < 2500, "{all}");
        }
    }
}

#[test]
fn one_robot_whose_own_link_broke_is_back_within_half_a_second() {
    let mut robot = robot(7);
    robot.handle_closed(at(100.0));
    assert!(robot.poll_timeout().unwrap() <= at(100.5));
}

/// Guards: each Welcome started the waits anew, so a gateway that failed right after it was asked twice a second.
#[test]
fn a_session_that_ends_at_once_does_not_shorten_the_waits() {
    let mut robot = robot(7);
    let mut now = at(1.0);
    let mut waits = Vec::new();
    for _ in 0..20 {
        robot.handle_closed(now);
        let next = robot.poll_timeout().unwrap();
        waits.push(next.since(now));
        now = next;
        robot.handle_timeout(CLOCK, now);
        while robot.poll_action(now).is_some() {}
        welcome(&mut robot, now);
    }
    assert!(waits.iter().any(|wait| *wait > Duration::from_secs(10)), "{waits:?}");
}
