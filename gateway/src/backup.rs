//! Copies a data folder while a gateway runs on it, or while none does.
//!
//! The copy is a data folder itself: to restore, copy it to where a gateway is to run. It is written so that it is
//! never taken for whole before it is: `store.version` says that it is unfinished until everything else is synced.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use muster_protocol::id::LogId;

use crate::{
    control::Offer,
    durable_file::{self, Readable, sync_folder},
    store::{self, LISTING_FILE, Listed, Listing, OpenError},
};

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The id of the log.
    pub log: LogId,
    /// How many files.
    pub files: usize,
    /// How many bytes.
    pub bytes: u64,
    /// Whether a gateway was running.
    pub running: bool,
}

/// Why there is no backup. What was written of it is not taken for one.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target is there and holds something.
    #[error("{} is not empty; name a folder that is new or empty", .0.display())]
    NotEmpty(PathBuf),
    /// The target is part of the source.
    #[error("{} is inside the data folder; name a folder outside of it", .0.display())]
    Inside(PathBuf),
    /// There is nothing to copy.
    #[error("{} is not a data folder; name the gateway's with --data-dir", .0.display())]
    NoStore(PathBuf),
    /// The data folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The gateway cannot be asked.
    #[error("cannot ask the gateway that runs on {}: {source}", folder.display())]
    Gateway {
        /// The data folder.
        folder: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The gateway ended or forgot the backup, so that files may have changed.
    #[error("the gateway on {} ended before the backup was whole; start it again", .0.display())]
    Interrupted(PathBuf),
    /// The file system refuses.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Copies the data folder `from` to `to`, which is new or empty, durably.
pub fn take(from: &Path, to: &Path) -> Result<Copied, BackupError> {
    let Some(log) = store::log_id_of(from)? else { return Err(BackupError::NoStore(from.to_owned())) };
    prepare(from, to)?;
    let offer =
        Offer::ask(from).map_err(|source| BackupError::Gateway { folder: from.to_owned(), source })?;
    if let Some(offer) = offer {
        let copied = copy_all(from, to, log, &offer.files)?;
        if !offer.finish().unwrap_or(false) {
            return Err(BackupError::Interrupted(from.to_owned()));
        }
        finish(from, to, &copied)?;
        return Ok(summed(&copied, true));
    }
    let _lock = store::lock(from)?;
    let files = store::files_of(from).map_err(at("list the files of", from))?;
    let copied = copy_all(from, to, log, &files)?;
    finish(from, to, &copied)?;
    Ok(summed(&copied, false))
}

fn summed(listing: &Listing, running: bool) -> Copied {
    let bytes = listing.files.iter().map(|file| file.bytes).sum();
    Copied { log: listing.log, files: listing.files.len(), bytes, running }
}

/// Makes the target and marks it as unfinished.
fn prepare(from: &Path, to: &Path) -> Result<(), BackupError> {
    fs::create_dir_all(to).map_err(at("make", to))?;
    if fs::read_dir(to).map_err(at("read", to))?.next().is_some() {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    let (whole, part) =
        (from.canonicalize().map_err(at("find", from))?, to.canonicalize().map_err(at("find", to))?);
    if part.starts_with(whole) {
        let _ = fs::remove_dir(to); // it is empty: it was made for nothing
        return Err(BackupError::Inside(to.to_owned()));
    }
    let version = to.join(VERSION_FILE);
    durable_file::replace(&version, UNFINISHED.as_bytes(), Readable::ByAll).map_err(at("write", &version))
}

/// Copies the files, syncs them and their folders, and lists them.
fn copy_all(from: &Path, to: &Path, log: LogId, files: &[PathBuf]) -> Result<Listing, BackupError> {
    let size = |file: &PathBuf| fs::metadata(from.join(file)).map_or(0, |meta| meta.len());
    let progress = Progress::start(files.iter().map(size).sum());
    let mut listed = Vec::with_capacity(files.len());
    let mut folders = vec![to.to_owned()];
    for name in ["log", "checkpoints"] {
        let folder = to.join(name);
        fs::create_dir_all(&folder).map_err(at("make", &folder))?;
        folders.push(folder);
    }
    for path in files {
        let target = if path == Path::new(VERSION_FILE) { to.join(HELD_BACK) } else { to.join(path) };
        let folder = target.parent().unwrap_or(to);
        if !folders.iter().any(|known| known == folder) {
            fs::create_dir_all(folder).map_err(at("make", folder))?;
            folders.push(folder.to_owned());
            folders.extend(folder.parent().map(Path::to_owned));
        }
        if let Some((bytes, crc)) = copy_one(&from.join(path), &target, &progress)? {
            listed.push(Listed { path: path.clone(), bytes, crc });
        }
    }
    for folder in folders.iter().rev() {
        sync_folder(folder).map_err(at("sync", folder))?;
    }
    Ok(Listing { log, files: listed })
}

/// Makes the copy one that can be used.
fn finish(from: &Path, to: &Path, copied: &Listing) -> Result<(), BackupError> {
    let listing = to.join(LISTING_FILE);
    let written = durable_file::replace(&listing, copied.encode().as_bytes(), Readable::ByAll);
    written.map_err(at("write", &listing))?;
    let version = to.join(VERSION_FILE);
    fs::rename(to.join(HELD_BACK), &version).map_err(at("write", &version))?;
    sync_folder(to).map_err(at("sync", to))?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(parent).map_err(at("sync", parent))?;
    tracing::debug!(from = %from.display(), to = %to.display(), "the backup is whole");
    Ok(())
}

/// Copies one file durably, and returns how long it is and the check sum of what was read. `None` if it went: a
/// snapshot that the database made anew.
fn copy_one(from: &Path, to: &Path, progress: &Progress) -> Result<Option<(u64, u32)>, BackupError> {
    let name = from.file_name().unwrap_or_default().to_string_lossy();
    let mut source = match File::open(from) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound && name.starts_with("snap.") => {
            return Ok(None);
        }
        Err(error) => return Err(at("open", from)(error)),
    };
    let mode = source.metadata().map_err(at("read", from))?.mode();
    let target = OpenOptions::new().write(true).create_new(true).mode(mode & 0o777).open(to);
    let mut target = target.map_err(at("make", to))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut bytes, mut crc) = (0, 0);
    loop {
        let got = source.read(&mut chunk).map_err(at("read", from))?;
        if got == 0 {
            break;
        }
        target.write_all(&chunk[..got]).map_err(at("write", to))?;
        crc = crc32c::crc32c_append(crc, &chunk[..got]);
        bytes += got as u64;
        progress.0.inc(got as u64);
    }
    target.sync_all().map_err(at("sync", to))?;
    Ok(Some((bytes, crc)))
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { action, path, source }
}

/// Shows on a terminal how far the copy is.
struct Progress(ProgressBar);

impl Progress {
    fn start(bytes: u64) -> Self {
        let bar = ProgressBar::new(bytes); // draws nothing where stderr is no terminal
        let style =
            ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

const VERSION_FILE: &str = "store.version";
const HELD_BACK: &str = "store.version.copied";
const UNFINISHED: &str = "muster backup, unfinished: not a data folder\n";
const CHUNK_BYTES: usize = 1024 * 1024;
