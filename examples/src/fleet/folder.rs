//! Where the demo keeps its data: a folder that stays, or one that is removed at the end.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
};

use anyhow::Context as _;

/// The data folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    /// Makes the folder that was asked for, or a temporary one.
    pub(super) fn open(asked: Option<&Path>) -> anyhow::Result<Self> {
        let path = match asked {
            Some(path) => std::path::absolute(path).context("resolve the data folder")?,
            None => env::temp_dir().join(format!("muster-fleet-{}", process::id())),
        };
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { path, temporary: asked.is_none() })
    }

    /// Returns a path in the folder.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
