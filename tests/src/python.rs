//! Packages of Python in a folder of their own, made once and kept between runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{aloud::say_aloud, outside::skipped};

/// A virtual environment with one package.
#[derive(Clone, Debug)]
pub struct Environment {
    folder: PathBuf,
}

impl Environment {
    /// Makes the environment in `target`, or takes the one that is there. `None` where Python or the package cannot be
    /// had and `MUSTER_SKIP_EXTERNAL=1` says to go on without, which is said aloud; without it the test fails.
    pub fn with(package: &str, version: &str, target: &Path) -> Option<Self> {
        let environment = Self { folder: target.join(format!("{package}-{version}")) };
        match environment.make(&format!("{package}=={version}")) {
            Ok(()) => Some(environment),
            Err(why) if skipped() => {
                say_aloud(&format!("SKIPPED: {why}, and MUSTER_SKIP_EXTERNAL=1 says to go on without"));
                None
            }
            Err(why) => panic!("{why}\nset MUSTER_SKIP_EXTERNAL=1 to go on without what needs {package}"),
        }
    }

    /// Returns a command for a program of the package.
    pub fn command(&self, program: &str) -> Command {
        Command::new(self.folder.join("bin").join(program))
    }

    fn make(&self, requirement: &str) -> Result<(), String> {
        let whole = self.folder.join("whole");
        if whole.exists() {
            return Ok(());
        }
        // What a run that was stopped has left.
        let _ = fs::remove_dir_all(&self.folder);
        let output = Command::new("python3").args(["-m", "venv"]).arg(&self.folder).output();
        let why = "python3 makes no virtual environments (apt-get install python3-venv)";
        done(&output.map_err(|error| format!("{why}: {error}"))?, why)?;
        say_aloud(&format!("installing {requirement} in {}", self.folder.display()));
        let mut pip = self.command("python");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]);
        done(
            &pip.output().map_err(|error| format!("pip does not start: {error}"))?,
            "pip cannot install it",
        )?;
        fs::write(whole, "").map_err(|error| format!("the environment cannot be written: {error}"))
    }
}

fn done(output: &Output, why: &str) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{why}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
