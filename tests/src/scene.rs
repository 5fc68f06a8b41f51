//! A test's own folder, with the gateways and agents that it starts in it.

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use tempfile::TempDir;

use crate::{
    agent::AgentPlan,
    gateway::{Gateway, GatewayPlan},
    process::{Programs, Which},
};

/// A folder that goes with the test, and programs to start in it.
#[derive(Debug)]
pub struct Scene {
    folder: TempDir,
    programs: Programs,
}

impl Scene {
    /// Makes an empty folder.
    pub fn new(programs: Programs) -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made"), programs }
    }

    /// Returns a path in the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a temporary file can be written");
        path
    }

    /// Starts a gateway on the folder `data` and free ports.
    pub fn gateway(&self) -> Gateway {
        self.gateway_plan().start()
    }

    /// Returns a gateway to be started on the folder `data` and free ports.
    pub fn gateway_plan(&self) -> GatewayPlan {
        GatewayPlan::new(self.programs.clone(), self.path("data"))
    }

    /// Returns an agent to be started, with a spool of its own.
    pub fn agent(&self, robot: &str) -> AgentPlan {
        let spool = self.path(format!("spool-{}", robot.replace('/', "-")));
        AgentPlan::new(self.programs.clone(), robot, spool)
    }

    /// Runs one of the programs to its end.
    pub fn run(&self, which: Which, args: &[&str]) -> Output {
        self.programs.command(which).args(args).current_dir(self.folder.path()).output().expect("it starts")
    }
}
