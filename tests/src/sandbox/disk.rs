//! A small disk that can be filled up and can fail.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A file system of its own on a folder; the calling thread needs mounts of its own.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    /// The file behind it, if it is not in memory.
    image: Option<PathBuf>,
}

impl Disk {
    /// Mounts one in memory with room for so many bytes.
    pub fn in_memory(folder: &Path, bytes: u64) -> Self {
        fs::create_dir_all(folder).expect("a temporary folder can be made");
        let options = format!("size={bytes}");
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .expect("root may mount a tmpfs");
        Self { folder: folder.to_owned(), image: None }
    }

    /// Makes an ext4 in a file beside the folder and mounts it as servers do: read-only after the first error.
    pub fn ext4(folder: &Path, bytes: u64) -> Self {
        fs::create_dir_all(folder).expect("a temporary folder can be made");
        let image = folder.with_extension("image");
        let file = File::create(&image).expect("a temporary file can be made");
        file.set_len(bytes).expect("a file can have holes");
        // All of it at once, else the kernel goes on to make it for a while.
        let whole = ["-E", "lazy_itable_init=0,lazy_journal_init=0"];
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).args(whole).arg(&image));
        let disk = Self { folder: folder.to_owned(), image: Some(image) };
        disk.mount_image();
        disk
    }

    /// Writes until no byte has room.
    pub fn fill_up(&self) {
        let mut file = File::create(self.folder.join(FILLER)).expect("there is room for a name");
        for chunk in [64 * 1024, 4096, 1] {
            let bytes = vec![0xa5; chunk];
            loop {
                match file.write_all(&bytes) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("fill the disk: {error}"),
                }
            }
        }
    }

    /// Takes away what filled it up.
    pub fn make_room(&self) {
        fs::remove_file(self.folder.join(FILLER)).expect("a file can be removed from a full disk");
    }

    /// Makes an ext4 find an error, after which the kernel lets nothing be written to it, open files included.
    pub fn fail(&self) {
        let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", self.device());
        fs::write(trigger, "a test wants to see this").expect("ext4 takes errors on demand");
    }

    /// Returns the bytes that were written so far to the device of an ext4, its journal included, after all that the
    /// kernel still holds is written.
    pub fn written(&self) -> u64 {
        run(Command::new("sync").arg("-f").arg(&self.folder));
        let stat = format!("/sys/block/{}/stat", self.device());
        let stat = fs::read_to_string(stat).expect("a device has counts");
        let sectors = stat.split_whitespace().nth(6).and_then(|sectors| sectors.parse::<u64>().ok());
        sectors.expect("the seventh is the sectors written") * SECTOR_BYTES
    }

    /// Returns the name of an ext4's device.
    fn device(&self) -> String {
        let mounts = fs::read_to_string("/proc/thread-self/mounts").expect("there is /proc");
        let place = self.folder.to_str().expect("temporary paths are text");
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(place));
        let device = line.and_then(|line| line.split(' ').next()).expect("it is mounted");
        device.strip_prefix("/dev/").expect("a device is in /dev").to_owned()
    }

    /// Repairs an ext4 that failed, after the programs on it have ended.
    pub fn repair(&self) {
        umount2(&self.folder, MntFlags::empty()).expect("nothing is open on it any more");
        let image = self.image.as_ref().expect("only an ext4 can be repaired");
        // It exits with 1 when it has repaired something.
        let status =
            Command::new("fsck.ext4").args(["-p", "-f"]).arg(image).output().expect("fsck.ext4 runs");
        assert!(matches!(status.status.code(), Some(0 | 1)), "fsck: {status:?}");
        self.mount_image();
    }

    fn mount_image(&self) {
        let image = self.image.as_ref().expect("it has one");
        run(Command::new("mount").args(["-o", "loop,errors=remount-ro"]).arg(image).arg(&self.folder));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Else it goes with the thread's mounts.
        let _ = umount2(&self.folder, MntFlags::MNT_DETACH);
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The file that fills a disk.
const FILLER: &str = "filler";

/// The unit of a device's counts, whatever its own.
const SECTOR_BYTES: u64 = 512;
