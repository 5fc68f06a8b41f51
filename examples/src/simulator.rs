//! A robot without hardware: a differential drive that goes round a hall, with a battery, an IMU with noise and a Wi-Fi
//! that drops in the far corner.
//!
//! It writes what a real robot program would: NDJSON lines, each message with several fields. The lines carry no time,
//! so the agent stamps them as it takes them in. The same seed gives the same lines.

mod battery;
mod drive;
mod noise;
mod radio;

use serde_json::{Value, json};

use self::{battery::Battery, drive::Drive, noise::Noise, radio::Radio};

/// One simulated robot.
#[derive(Clone, Debug)]
pub struct Simulator {
    drive: Drive,
    battery: Battery,
    radio: Radio,
    noise: Noise,
    tick: u64,
}

impl Simulator {
    /// Places a robot in the hall; where, and all its noise, follows from the seed.
    pub fn new(seed: u64) -> Self {
        let mut noise = Noise::new(seed);
        let drive = Drive::new(&mut noise);
        Self { drive, battery: Battery::new(&mut noise), radio: Radio::default(), noise, tick: 0 }
    }

    /// Lets [`TICK_MS`] pass and returns the lines that the robot's programs write in it.
    pub fn tick(&mut self) -> Vec<String> {
        let was_up = self.radio.is_up();
        self.drive.step(TICK_S, self.battery.is_charging());
        self.battery.step(TICK_S, self.drive.speed(), self.drive.is_docked());
        self.radio.step(self.drive.position(), &mut self.noise);
        let mut lines = vec![self.imu()];
        if self.every(ODOMETRY_TICKS) {
            lines.push(self.odometry());
        }
        if self.every(RADIO_TICKS) {
            lines.push(line("wifi", &json!({"rssi_dbm": self.radio.rssi_dbm(), "up": self.radio.is_up()})));
        }
        if self.every(BATTERY_TICKS) {
            lines.push(self.battery_line());
            lines.push(line("mode", &json!(self.drive.mode())));
        }
        if self.radio.is_up() != was_up {
            let event = if was_up { "wifi lost" } else { "wifi back" };
            lines.push(json!({"ch": "event", "v": event, "lane": "urgent"}).to_string());
        }
        self.tick += 1;
        lines
    }

    /// Tells whether the robot's Wi-Fi carries anything now.
    pub fn wifi_is_up(&self) -> bool {
        self.radio.is_up()
    }

    fn every(&self, ticks: u64) -> bool {
        self.tick.is_multiple_of(ticks)
    }

    fn imu(&mut self) -> String {
        let (forward, turn) = self.drive.acceleration();
        let [ax, ay, az, wz] = [0.05, 0.05, 0.08, 0.004].map(|sigma| sigma * self.noise.gauss());
        line("imu", &json!({"ax": forward + ax, "ay": ay, "az": GRAVITY + az, "wz": turn + wz}))
    }

    fn odometry(&self) -> String {
        let (x, y) = self.drive.position();
        line(
            "odom",
            &json!({"x": x, "y": y, "yaw": self.drive.yaw(), "v": self.drive.speed(), "w": self.drive.turn()}),
        )
    }

    fn battery_line(&self) -> String {
        let Battery { soc, amperes, .. } = self.battery;
        let voltage = self.battery.voltage();
        line(
            "battery",
            &json!({"soc": soc, "voltage": voltage, "current": amperes, "charging": amperes > 0.0}),
        )
    }
}

fn line(channel: &str, value: &Value) -> String {
    json!({"ch": channel, "v": value}).to_string()
}

/// The span of one tick, in milliseconds: the IMU's rate is 50 Hz.
pub const TICK_MS: u64 = 20;

const TICK_S: f64 = 0.02;
const ODOMETRY_TICKS: u64 = 2;
const RADIO_TICKS: u64 = 10;
const BATTERY_TICKS: u64 = 50;

/// Metres per second squared.
const GRAVITY: f64 = 9.806_65;

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64, ticks: usize) -> (Vec<String>, Vec<bool>) {
        let mut robot = Simulator::new(seed);
        let mut wifi = Vec::new();
        let mut lines = Vec::new();
        for _ in 0..ticks {
            lines.extend(robot.tick());
            wifi.push(robot.wifi_is_up());
        }
        (lines, wifi)
    }

    #[test]
    fn the_same_seed_gives_the_same_lines() {
        assert_eq!(run(7, 500).0, run(7, 500).0);
        assert_ne!(run(7, 500).0, run(8, 500).0);
    }

    #[test]
    fn each_line_is_a_sample_of_the_contract() {
        for text in run(1, 3000).0 {
            let value: Value = serde_json::from_str(&text).unwrap();
            assert!(value["ch"].is_string() && !value["v"].is_null(), "{text}");
        }
    }

    #[test]
    fn wifi_drops_and_comes_back_within_two_minutes() {
        let wifi = run(3, 120 * 50).1;
        let down = wifi.iter().filter(|up| !**up).count();
        assert!((50..3000).contains(&down), "down for {down} ticks of {}", wifi.len());
        let changes = wifi.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((2..=12).contains(&changes), "{changes} changes");
    }

    #[test]
    fn the_battery_empties_and_is_charged_again() {
        let mut robot = Simulator::new(5);
        let mut soc = Vec::new();
        for _ in 0..1800 * 50 {
            robot.tick();
            soc.push(robot.battery.soc);
        }
        assert!(soc.iter().all(|soc| (0.0..=1.0).contains(soc)));
        assert!(soc.windows(2).any(|pair| pair[1] > pair[0]) && soc.windows(2).any(|pair| pair[1] < pair[0]));
        assert!(soc.iter().copied().fold(1.0, f64::min) > 0.05, "it reaches its dock");
    }
}
