//! The spool's folder and the disk under it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{major, minor, statfs, statvfs};

use crate::{
    clock::Clock,
    doctor::facts::{Folder, Medium, SpoolFacts},
};

pub(super) fn look(dir: &Path, limit_bytes: u64) -> SpoolFacts {
    let folder = match fs::metadata(dir) {
        Ok(found) if !found.is_dir() => Folder::File,
        Ok(_) if dir.join("store.version").exists() => Folder::OfGateway,
        Ok(_) => Folder::There,
        Err(_) => Folder::Missing,
    };
    let place = nearest(dir);
    let free = statvfs(&place).ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    SpoolFacts {
        dir: dir.display().to_string(),
        folder,
        limit_bytes,
        used_bytes: bytes_in(dir, FOLDERS_DEEP),
        free_bytes: free,
        sync: if folder == Folder::OfGateway { Err("not tried".to_owned()) } else { write_and_sync(&place) },
        medium: medium_of(&place),
    }
}

/// Returns the folder, or the nearest one above it that is there.
fn nearest(dir: &Path) -> PathBuf {
    let above = dir.ancestors().find(|path| path.is_dir());
    let here = above.filter(|path| !path.as_os_str().is_empty());
    here.unwrap_or(Path::new(".")).to_owned()
}

/// Adds up the files of a spool: those of the folder and of its lanes.
fn bytes_in(dir: &Path, deep: u8) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() && deep > 0 => bytes_in(&entry.path(), deep - 1),
        Ok(found) if found.is_file() => found.len(),
        _ => 0,
    };
    entries.map(size).sum()
}

/// Returns the longest of a few small writes with a sync, as the spool makes them.
fn write_and_sync(place: &Path) -> Result<Duration, String> {
    let path = place.join(format!(".muster-doctor-{}", std::process::id()));
    let timed = try_it(&path).map_err(|error| error.to_string());
    let _ = fs::remove_file(&path);
    timed
}

fn try_it(path: &Path) -> io::Result<Duration> {
    let clock = Clock::new();
    let mut file: File = OpenOptions::new().write(true).create_new(true).open(path)?;
    let mut longest = Duration::ZERO;
    for _ in 0..TRIES {
        let start = clock.mono();
        file.write_all(&[0xa5; PAGE_BYTES])?;
        file.sync_data()?;
        longest = longest.max(clock.mono().since(start));
    }
    Ok(longest)
}

fn medium_of(place: &Path) -> Medium {
    // The type is of another width, and signed or not, from machine to machine; its low half has meaning.
    let kind = statfs(place).map(|stat| i128::from(stat.f_type) & i128::from(u32::MAX));
    match kind {
        Ok(TMPFS | RAMFS) => return Medium::Memory,
        Ok(OVERLAY) => return Medium::Layer,
        _ => {}
    }
    let Ok(found) = fs::metadata(place) else { return Medium::Other };
    let (major, minor) = (major(found.dev()), minor(found.dev()));
    let Ok(device) = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")) else {
        return Medium::Other;
    };
    let name = device.to_string_lossy();
    if name.contains("/mmcblk") {
        return Medium::Card;
    }
    // A partition's queue is that of its disk. Disks of virtual machines say that they spin, whatever they are.
    let rotational = [&device, device.parent().unwrap_or(&device)]
        .iter()
        .find_map(|folder| fs::read_to_string(folder.join("queue/rotational")).ok());
    let is_virtual = name.contains("/virtio") || name.contains("/vbd") || name.contains("/loop");
    if rotational.is_some_and(|text| text.trim() == "1") && !is_virtual {
        return Medium::Spinning;
    }
    Medium::Other
}

/// The spool's folder, and those of the lanes in it.
const FOLDERS_DEEP: u8 = 1;

const TRIES: u32 = 3;
const PAGE_BYTES: usize = 4096;

/// Types of file systems (statfs(2)).
const TMPFS: i128 = 0x0102_1994;
const RAMFS: i128 = 0x8584_58f6;
const OVERLAY: i128 = 0x794c_7630;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_looked_at_and_left_as_it_was() {
        let temp = tempfile::tempdir().unwrap();
        let missing = temp.path().join("a/b");
        let facts = look(&missing, 1 << 30);
        assert_eq!((facts.folder, facts.used_bytes), (Folder::Missing, 0));
        assert!(facts.sync.is_ok() && facts.free_bytes.is_some(), "{facts:?}");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0, "nothing is left");

        fs::create_dir_all(missing.join("live")).unwrap();
        fs::write(missing.join("live/one"), [0; 100]).unwrap();
        fs::write(missing.join("SPOOL"), [0; 60]).unwrap();
        let facts = look(&missing, 1 << 30);
        assert_eq!((facts.folder, facts.used_bytes), (Folder::There, 160));
        fs::write(missing.join("store.version"), "").unwrap();
        assert_eq!(look(&missing, 1).folder, Folder::OfGateway);
        assert_eq!(look(&missing.join("SPOOL"), 1).folder, Folder::File);
        let below = look(&missing.join("SPOOL/below"), 1);
        assert_eq!(below.folder, Folder::Missing);
    }
}
