//! Disks that are full or fail, under the spool and under the store. The caller works in a [sandbox](crate::sandbox) of
//! its own.

use super::{Account, Story, story::ROBOT};
use crate::{feeder::Answer, gateway::Transport, patience::wait_until, sandbox::Disk, scene::Scene};

/// What a disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It has no room left.
    Full,
    /// The kernel makes it read-only.
    ReadOnly,
}

impl Trouble {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Full, Self::ReadOnly];

    fn disk(self, scene: &Scene, folder: &str, bytes: u64) -> Disk {
        match self {
            Self::Full => Disk::in_memory(&scene.path(folder), bytes),
            Self::ReadOnly => Disk::ext4(&scene.path(folder), bytes),
        }
    }

    fn begin(self, disk: &Disk) {
        match self {
            Self::Full => disk.fill_up(),
            Self::ReadOnly => disk.fail(),
        }
    }

    /// The programs on a read-only disk have to have ended before.
    fn end(self, disk: &Disk) {
        match self {
            Self::Full => disk.make_room(),
            Self::ReadOnly => disk.repair(),
        }
    }
}

/// The disk under the spool makes trouble while the gateway is absent. What was accepted before is delivered while the
/// trouble lasts; rows are accepted again after it, by an agent that was started again.
pub fn under_the_spool(scene: &Scene, trouble: Trouble) -> Account {
    let disk = trouble.disk(scene, "spool-faults-r1", SPOOL_DISK_BYTES);
    let mut story = Story::new(scene, Transport::Quic);
    story.wait_for_traffic();
    story.gateway.kill();
    story.feed(20);
    trouble.begin(&disk);
    // Pages that are allocated already may take some more rows.
    wait_until("rows are not accepted any more", || story.offer() != Answer::Accepted);
    let before = story.rows_fed();
    story.offer();
    assert!(story.rows_fed() > before && story.agent.ended().is_none(), "the agent goes on");
    story.gateway.start_again();
    let accepted = story.accepted_samples();
    wait_until("what was accepted is delivered", || story.stored() >= accepted);
    // It may say with its exit code that it refused rows; those were never accepted.
    story.agent.terminate();
    trouble.end(&disk);
    story.start_agent();
    story.feed(20);
    story.drain();
    story.last_account()
}

/// The disk under the spool is full while the link is up: samples go through memory, and by the disk again when there
/// is room, without a new start.
pub fn through_memory(scene: &Scene) -> Account {
    let disk = Trouble::Full.disk(scene, "spool-faults-r1", SPOOL_DISK_BYTES);
    let mut story = Story::new(scene, Transport::Quic);
    story.wait_for_traffic();
    disk.fill_up();
    wait_until("rows are not accepted any more", || story.offer() != Answer::Accepted);
    let before = story.stored();
    story.offer();
    wait_until("rows that are not on the robot's disk arrive", || story.stored() > before);
    disk.make_room();
    wait_until("rows are accepted again", || story.offer() == Answer::Accepted);
    story.feed(20);
    story.drain();
    story.last_account()
}

/// The disk under the store makes trouble: nothing is acknowledged that is not stored, and the robot keeps it.
pub fn under_the_store(scene: &Scene, trouble: Trouble) -> Account {
    let disk = trouble.disk(scene, "data", STORE_DISK_BYTES);
    let mut story = Story::new(scene, Transport::Quic);
    story.wait_for_traffic();
    trouble.begin(&disk);
    story.feed(50);
    let stored = story.stored_or_gone();
    story.feed(50);
    assert!(story.stored_or_gone().is_none_or(|now| stored.is_none_or(|then| now >= then)), "no step back");
    match trouble {
        // A gateway that goes on finds the room by itself; one that ended is started again.
        Trouble::Full if story.gateway.ended().is_none() => trouble.end(&disk),
        _ => {
            story.gateway.kill();
            trouble.end(&disk);
            story.gateway.start_again();
        }
    }
    story.wait_for_traffic();
    story.drain();
    story.last_account()
}

/// A gateway starts on a full disk, serves what it has and takes nothing; with room it takes everything.
pub fn start_on_a_full_disk(scene: &Scene) -> Account {
    let disk = Trouble::Full.disk(scene, "data", STORE_DISK_BYTES);
    let mut story = Story::new(scene, Transport::Mqtt);
    story.wait_for_traffic();
    story.gateway.kill();
    disk.fill_up();
    story.gateway.start_again();
    assert!(story.gateway.robot(ROBOT).is_some(), "what is stored is served");
    story.feed(20);
    disk.make_room();
    story.wait_for_traffic();
    story.drain();
    story.last_account()
}

/// Room for a ballast, a partition and little more.
const STORE_DISK_BYTES: u64 = 64 * 1024 * 1024;

/// Room for a segment and more.
const SPOOL_DISK_BYTES: u64 = 16 * 1024 * 1024;
