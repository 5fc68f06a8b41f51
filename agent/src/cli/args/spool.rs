//! `spool check|list|cat DIR`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::inspect::{Each, Form, Inspection, View};

use super::Output;

/// How to look into a spool.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SpoolCommand {
    /// Read everything, verify every check sum, and sum up what is there, damaged and lost (exit code 3 if anything is)
    Check {
        #[command(flatten)]
        folder: Folder,
        /// Form of the answer
        #[arg(short, value_name = "FORM", default_value = "table")]
        output: Output,
    },
    /// Print a line for each segment, or for each record
    List {
        #[command(flatten)]
        folder: Folder,
        /// A line for each record
        #[arg(long)]
        records: bool,
        /// Form of the lines
        #[arg(short, value_name = "FORM", default_value = "table")]
        output: Output,
    },
    /// Print every sample that is still there as NDJSON, urgent first, in the order in which they were recorded; some may
    /// have been delivered
    Cat {
        #[command(flatten)]
        folder: Folder,
    },
}

/// Which spool.
#[derive(Clone, Debug, Args)]
pub(crate) struct Folder {
    /// The spool's folder
    dir: PathBuf,
    /// First do what the agent does at its start, and record what is damaged as lost; without this nothing is changed
    #[arg(long)]
    repair: bool,
}

impl SpoolCommand {
    /// Returns what was asked for.
    pub(crate) fn inspection(&self) -> Inspection {
        let form = |output: Output| match output {
            Output::Table => Form::Table,
            Output::Json => Form::Json,
        };
        let (view, Folder { dir, repair }) = match self {
            Self::Check { folder, output } => (View::Check(form(*output)), folder),
            Self::List { folder, records, output } => {
                (View::List(form(*output), if *records { Each::Record } else { Each::Segment }), folder)
            }
            Self::Cat { folder } => (View::Cat, folder),
        };
        Inspection { view, folder: dir.clone(), repair: *repair }
    }
}
