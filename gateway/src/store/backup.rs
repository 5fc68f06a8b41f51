//! What a backup of a data folder consists of, and what the first gateway on a restored one has to know.
//!
//! A backup is a copy of the data folder's files with a listing of them beside. While it is taken from a running store
//! a [`Hold`] keeps retention and checkpoints from removing what is named. Sealed partitions do not change, also not
//! when they are read.
//!
//! ```text
//! DIR/store.backup
//!   muster backup 1
//!   log ID                       of the store that was copied
//!   file CRC32C BYTES PATH       for each file, in hex and decimal
//!   crc CRC32C                   of the lines above
//! ```
//!
//! A folder with this file was not opened since it was copied. The first gateway on it gives the log another id,
//! because the original may have gone on giving offsets, and then removes the file.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_protocol::id::{LogId, Offset};

use super::{
    checkpoint,
    disk::read_if_there,
    folder::{parse_log_id, partition_name},
    shared::Shared,
};

/// The name of the listing in a backup.
pub const LISTING_FILE: &str = "store.backup";

/// Keeps everything that the log holds now in its place until it is dropped: retention and checkpoints remove nothing.
#[derive(Debug)]
pub struct Hold {
    shared: Arc<Shared>,
}

/// The files of a backup, with what tells whether they are whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The id of the log that was copied.
    pub log: LogId,
    /// The files.
    pub files: Vec<Listed>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path below the folder.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// CRC32C of its content.
    pub crc: u32,
}

const HEADER: &str = "muster backup 1\n";

impl Hold {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.hold();
        Self { shared }
    }

    /// Returns the files of a backup of everything below `end`, a partition's first offset, relative to the folder.
    pub fn files(&self, end: Offset) -> io::Result<Vec<PathBuf>> {
        let folder = &self.shared.folder;
        let partitions = self.shared.all().into_iter().map(|partition| partition.first);
        let partitions = partitions.filter(|first| *first < end);
        let mut files = Vec::new();
        for first in partitions {
            list_into(&folder.root, &Path::new("log").join(partition_name(first)), &mut files)?;
        }
        let covered = checkpoint::offsets_in(&folder.checkpoints())?.into_iter().filter(|at| *at < end);
        let checkpoints = covered.map(|at| checkpoint::file_of(Path::new("checkpoints"), at));
        files.extend(checkpoints);
        list_into(&folder.root, Path::new("milestones"), &mut files)?;
        files.extend(small_files(&folder.root)?);
        Ok(files)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.let_go();
    }
}

impl Listing {
    /// Reads a folder's listing; `None` where it has none.
    pub fn read(folder: &Path) -> io::Result<Option<Self>> {
        let Some(bytes) = read_if_there(&folder.join(LISTING_FILE))? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        Self::parse(&text).map(Some).ok_or_else(|| io::Error::other("the listing of the backup is damaged"))
    }

    fn parse(text: &str) -> Option<Self> {
        let (covered, crc) = text.trim_end().rsplit_once('\n')?;
        let covered = &text[..=covered.len()];
        let crc = u32::from_str_radix(crc.strip_prefix("crc ")?, 16).ok()?;
        if crc != crc32c::crc32c(covered.as_bytes()) {
            return None;
        }
        let mut lines = covered.strip_prefix(HEADER)?.lines();
        let log = parse_log_id(lines.next()?.strip_prefix("log ")?)?;
        let files = lines.map(|line| {
            let mut words = line.strip_prefix("file ")?.splitn(3, ' ');
            let crc = u32::from_str_radix(words.next()?, 16).ok()?;
            let bytes = words.next()?.parse().ok()?;
            Some(Listed { path: PathBuf::from(words.next()?), bytes, crc })
        });
        Some(Self { log, files: files.collect::<Option<_>>()? })
    }

    /// Returns the listing's text.
    pub fn encode(&self) -> String {
        let mut text = format!("{HEADER}log {}\n", self.log);
        for Listed { path, bytes, crc } in &self.files {
            let _ = writeln!(text, "file {crc:08x} {bytes} {}", path.display());
        }
        let crc = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "crc {crc:08x}");
        text
    }

    /// Returns the first listed file that is not there, or is not as long as it was; reads no content.
    pub fn first_missing(&self, folder: &Path) -> Option<&Listed> {
        let whole =
            |file: &Listed| fs::metadata(folder.join(&file.path)).is_ok_and(|meta| meta.len() == file.bytes);
        self.files.iter().find(|file| !whole(file))
    }
}

/// Returns the files of a folder that nobody writes, relative to it, but for those that belong to a running gateway.
pub(crate) fn files_of(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = small_files(root)?;
    for folder in ["log", "checkpoints", "milestones"] {
        list_into(root, Path::new(folder), &mut files)?;
    }
    files.retain(|path| !path.iter().any(|part| is_half_made(&part.to_string_lossy())));
    Ok(files)
}

fn small_files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let left = LEFT_OUT.contains(&&*name) || is_half_made(&name);
        if entry.file_type()?.is_file() && !left {
            files.push(PathBuf::from(&*name));
        }
    }
    Ok(files)
}

fn list_into(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(folder)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut entries: Vec<_> = entries.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list_into(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn is_half_made(name: &str) -> bool {
    [".new", ".dropped", ".generating", ".in___motion"].iter().any(|end| name.ends_with(end))
}

/// What is made anew, or belongs to the process that runs on the folder.
const LEFT_OUT: [&str; 4] = ["store.lock", "store.ballast", "control.sock", LISTING_FILE];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_round_trips_and_any_flipped_bit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Listing::read(folder.path()).unwrap(), None);
        let file = |name: &str| Listed { path: PathBuf::from(name), bytes: 12, crc: 0xab };
        let files = vec![file("log/00000000000000000001/db"), file("a name with spaces")];
        let listing = Listing { log: LogId([7; 16]), files };
        let text = listing.encode();
        assert_eq!(Listing::parse(&text), Some(listing));
        for bit in 0..(text.len() - 1) * 8 {
            let mut bad = text.clone().into_bytes();
            bad[bit / 8] ^= 1 << (bit % 8);
            let bad = String::from_utf8_lossy(&bad).into_owned();
            let parsed = Listing::parse(&bad);
            // hex reads in either case
            assert!(parsed.is_none() || parsed == Listing::parse(&text), "bit {bit}");
        }
    }
}
