//! A differential drive that follows waypoints round a hall and turns to its dock when it is to charge.

use std::f64::consts::{PI, TAU};

use super::noise::Noise;

/// Where the robot is and how it moves. Metres, radians, seconds.
#[derive(Clone, Debug)]
pub(super) struct Drive {
    x: f64,
    y: f64,
    yaw: f64,
    speed: f64,
    turn: f64,
    pushed: f64,
    target: usize,
    to_dock: bool,
}

impl Drive {
    /// Starts somewhere on the first part of the way round, where the Wi-Fi is good.
    pub(super) fn new(noise: &mut Noise) -> Self {
        let ((from_x, from_y), (to_x, to_y)) = (WAYPOINTS[0], WAYPOINTS[1]);
        let share = START_SHARE_MAX * noise.unit();
        let (x, y) = (from_x + (to_x - from_x) * share, from_y + (to_y - from_y) * share);
        let yaw = (to_y - y).atan2(to_x - x);
        Self { x, y, yaw, speed: 0.0, turn: 0.0, pushed: 0.0, target: 1, to_dock: false }
    }

    /// Drives on for `seconds`: to the next waypoint, or to the dock and stays there while it charges.
    pub(super) fn step(&mut self, seconds: f64, charge: bool) {
        self.to_dock = charge;
        let goal = if charge { DOCK } else { WAYPOINTS[self.target] };
        let (dx, dy) = (goal.0 - self.x, goal.1 - self.y);
        let distance = dx.hypot(dy);
        if distance < REACHED_M && !charge {
            self.target = (self.target + 1) % WAYPOINTS.len();
        }
        let off = wrapped(dy.atan2(dx) - self.yaw);
        let arrived = charge && distance < REACHED_M;
        self.turn = if arrived { 0.0 } else { (2.0 * off).clamp(-TURN_MAX, TURN_MAX) };
        let wanted = if arrived || off.abs() > PI / 3.0 { 0.0 } else { SPEED_MAX.min(distance) };
        self.pushed = ((wanted - self.speed) / seconds).clamp(-PUSH_MAX, PUSH_MAX);
        self.speed += self.pushed * seconds;
        self.yaw = wrapped(self.yaw + self.turn * seconds);
        self.x += self.speed * self.yaw.cos() * seconds;
        self.y += self.speed * self.yaw.sin() * seconds;
    }

    pub(super) fn position(&self) -> (f64, f64) {
        (self.x, self.y)
    }

    pub(super) fn yaw(&self) -> f64 {
        self.yaw
    }

    pub(super) fn speed(&self) -> f64 {
        self.speed
    }

    pub(super) fn turn(&self) -> f64 {
        self.turn
    }

    /// Returns what an IMU feels: acceleration forward, and the rate of turn.
    pub(super) fn acceleration(&self) -> (f64, f64) {
        (self.pushed, self.turn)
    }

    pub(super) fn is_docked(&self) -> bool {
        self.to_dock && (DOCK.0 - self.x).hypot(DOCK.1 - self.y) < REACHED_M
    }

    pub(super) fn mode(&self) -> &'static str {
        match (self.to_dock, self.is_docked()) {
            (false, _) => "patrol",
            (true, false) => "to dock",
            (true, true) => "charging",
        }
    }
}

fn wrapped(angle: f64) -> f64 {
    (angle + PI).rem_euclid(TAU) - PI
}

/// The way round the hall; the access point hangs at the origin, the third corner is far from it.
const WAYPOINTS: [(f64, f64); 4] = [(2.0, 2.0), (28.0, 3.0), (30.0, 18.0), (3.0, 16.0)];
const DOCK: (f64, f64) = (1.0, 1.0);
/// How much of the first part a robot may have behind it at the start.
const START_SHARE_MAX: f64 = 0.4;
const REACHED_M: f64 = 0.6;
const SPEED_MAX: f64 = 1.5;
const TURN_MAX: f64 = 1.2;
const PUSH_MAX: f64 = 0.8;
