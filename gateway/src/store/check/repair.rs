//! What a repair does, each step durable and said.

use std::{fs, io, path::Path};

use muster_protocol::id::Offset;

use super::{
    CheckError, Report, at,
    partition::{CAN_BE_REBUILT, Looked, PartitionState},
};
use crate::store::{Disk as _, OsDisk, checkpoint, disk::replace, partition::QUARANTINED_FILE};

impl Report {
    /// Rebuilds a partition's files, or sets it aside.
    pub(super) fn repair(&mut self, root: &Path, looked: &mut Looked) -> Result<(), CheckError> {
        let name = looked.folder.strip_prefix(root).unwrap_or(&looked.folder).display().to_string();
        if let Some(why) = &looked.unreadable {
            let mark = looked.folder.join(QUARANTINED_FILE);
            replace(&OsDisk, &mark, why.as_bytes()).map_err(at("set aside", &looked.folder))?;
            looked.report.state = PartitionState::Quarantined;
            self.repaired.push(format!(
                "{name} is set aside; the next start of the gateway writes loss records for what is known of it"
            ));
            return Ok(());
        }
        for (file, bytes) in &looked.rebuilt {
            let path = looked.folder.join(file);
            replace(&OsDisk, &path, bytes).map_err(at("rebuild", &path))?;
            self.repaired.push(format!("{name}/{file} is rebuilt from the records"));
        }
        looked.report.findings.retain(|finding| !finding.ends_with(CAN_BE_REBUILT));
        Ok(())
    }

    /// Clears what a crash left and what nobody can read.
    pub(super) fn repair_folder(&mut self, root: &Path) -> Result<(), CheckError> {
        for path in std::mem::take(&mut self.left_over) {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.and_then(|()| sync_parent(&path)).map_err(at("remove", &path))?;
            self.repaired.push(format!("{} is removed: a crash left it", path.display()));
        }
        let folder = root.join("checkpoints");
        for (offset, _) in self.checkpoints.iter().filter(|(_, whole)| !whole) {
            let path = checkpoint::file_of(&folder, Offset(*offset));
            fs::remove_file(&path).and_then(|()| sync_parent(&path)).map_err(at("remove", &path))?;
            self.repaired.push(format!(
                "{} is removed: it is damaged, and the state is read from the log",
                path.display()
            ));
        }
        self.checkpoints.retain(|(_, whole)| *whole);
        Ok(())
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    OsDisk.sync_folder(path.parent().unwrap_or(Path::new(".")))
}
