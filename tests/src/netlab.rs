//! A robot and a gateway in networks of their own, with emulated links between them.
//!
//! ```text
//!   robot's network                    this process                 gateway's network
//!   path0 (TUN) 10.99.1.2  ◄──────►  Link up, Link down  ◄──────►   wan (TUN) 10.99.0.1
//!   path1 (TUN) 10.99.2.2  ◄──────►  Link up, Link down  ◄──────►
//! ```
//!
//! A kernel without netem cannot delay or lose packets; a small forwarder between two TUN devices can. Each packet
//! that comes out of one device is offered to a [`Link`], which says when it goes into the other, if ever. The thread
//! that makes the lab stands in the gateway's network ([`sandbox::alone`](crate::sandbox::alone)); programs are put into
//! the robot's by `nsenter`.

mod forwarder;
pub mod link;
pub mod traces;

use std::{
    fs::{self, File},
    os::fd::AsRawFd as _,
    path::Path,
    process::{self, Command},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};
use tokio::runtime::{self, Runtime};
use tokio_tun::{Tun, TunBuilder};

use crate::{
    agent::AgentPlan,
    dice::Dice,
    gateway::{Gateway, Transport},
    outside,
};

use forwarder::{Traffic, Ways};
pub use link::{Conditions, Link};

/// The lab. Dropping it removes the devices.
#[derive(Debug)]
pub struct Lab {
    robot: File,
    paths: Vec<Arc<Ways>>,
    _runtime: Runtime,
}

/// The gateway's address.
pub const GATEWAY: &str = "10.99.0.1";

impl Lab {
    /// Returns whether what a lab needs is there; if not, see [`outside::there`].
    pub fn possible() -> bool {
        outside::there("ip", "iproute2") && outside::there("nsenter", "util-linux")
    }

    /// Makes a lab with these paths, each up and down; the robot uses the first. `folder` is for a small file.
    pub fn new(folder: &Path, paths: &[[Conditions; 2]], seed: u64) -> Self {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let dice = Dice::new(seed);
        call_the_gateway_localhost(folder);
        raise_loopback();
        let wan = device(&runtime, "wan", GATEWAY);
        ip("route add 10.99.0.0/16 dev wan");
        let robot = apart(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may have networks");
            raise_loopback();
            File::open("/proc/thread-self/ns/net").expect("there is /proc")
        });
        let make = |(n, [up, down]): (usize, &[Conditions; 2])| {
            let tun = within(&robot, || device(&runtime, &format!("path{n}"), &address(n)));
            let link = |conditions: &Conditions, way| {
                Mutex::new(Link::new(conditions.clone(), dice.for_user(2 * n as u64 + way)))
            };
            Arc::new(Ways { tun, up: link(up, 0), down: link(down, 1), traffic: Traffic::default() })
        };
        let paths: Vec<_> = paths.iter().enumerate().map(make).collect();
        runtime.spawn(forwarder::run(wan, paths.clone()));
        let lab = Self { robot, paths, _runtime: runtime };
        lab.roam(0);
        lab
    }

    /// Sends all that the robot sends by this path from now on. The address of the other paths is gone.
    pub fn roam(&self, to: usize) {
        within(&self.robot, || {
            for n in (0..self.paths.len()).filter(|n| *n != to) {
                ip(&format!("addr flush dev path{n}"));
            }
            ip(&format!("addr replace {}/24 dev path{to}", address(to)));
            ip(&format!("route replace default dev path{to}"));
        });
    }

    /// Returns an agent on the robot that sends to this gateway, and trusts it.
    pub fn agent(&self, plan: AgentPlan, gateway: &Gateway, transport: Transport) -> AgentPlan {
        let network = format!("--net=/proc/{}/fd/{}", process::id(), self.robot.as_raw_fd());
        let port = gateway.address(transport).port();
        let plan = plan.started_by(&["/usr/bin/nsenter", &network]);
        let plan = plan.arg("--gateway").arg(format!("{}://localhost:{port}", transport.name()));
        plan.arg("--ca").arg(gateway.ca().to_str().expect("temporary paths are text"))
    }

    /// Makes a path unlimited from now on.
    pub fn open(&self, path: usize) {
        let ways = &self.paths[path];
        for way in [&ways.up, &ways.down] {
            way.lock().unwrap_or_else(PoisonError::into_inner).open();
        }
    }

    /// Returns the bytes that a path has carried so far, up and down, with the headers of IP.
    pub fn carried(&self, path: usize) -> [u64; 2] {
        self.paths[path].traffic.bytes()
    }
}

/// Makes loopback work in the calling thread's network, where it does not at first.
pub fn raise_loopback() {
    ip("link set lo up");
}

/// The robot's address on a path.
fn address(path: usize) -> String {
    format!("10.99.{}.2", path + 1)
}

/// The gateway's certificate is for `localhost`, which it is for the robot in this lab.
fn call_the_gateway_localhost(folder: &Path) {
    let hosts = folder.join("hosts");
    fs::write(&hosts, format!("{GATEWAY} localhost\n")).expect("a temporary file can be written");
    mount(Some(&hosts), "/etc/hosts", None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .expect("the thread has mounts of its own");
}

fn device(runtime: &Runtime, name: &str, address: &str) -> Tun {
    let _entered = runtime.enter();
    let mut made = TunBuilder::new().name(name).mtu(MTU).up().build().expect("root may have TUN devices");
    ip(&format!("addr add {address}/24 dev {name}"));
    made.pop().expect("one was asked for")
}

/// Runs `ip`, of iproute2, in the calling thread's network.
fn ip(args: &str) {
    let output = Command::new("ip").args(args.split(' ')).output().expect("ip runs");
    assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
}

fn within<T: Send>(network: &File, work: impl FnOnce() -> T + Send) -> T {
    apart(|| {
        setns(network, CloneFlags::CLONE_NEWNET).expect("root may enter a network");
        work()
    })
}

/// On a thread of its own, whose network can be another.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().expect("the network can be set up"))
}

/// As on most paths.
const MTU: i32 = 1500;
