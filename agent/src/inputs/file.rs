//! The input `file:PATH`: a recording of NDJSON lines, plain or gzip, from its start to its end. It waits when the
//! spool is full.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use super::{End, InputError, reader::LineReader};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Bytes that are read from the disk at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Opens the file, so that a wrong path is known at the start of the agent.
pub(super) fn open(input: &str, path: &Path) -> Result<File, InputError> {
    let failed = |source| InputError::from_io(input, path, source);
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(InputError::IsFolder { input: input.to_owned() });
    }
    Ok(file)
}

/// Reads the file to its end. It is gzip if it starts like gzip or its name ends so; several members are one stream.
pub(super) fn run(reader: LineReader, file: File, path: &Path) -> End {
    let mut bytes = BufReader::with_capacity(BUFFER_BYTES, file);
    let start = match bytes.fill_buf() {
        Ok(start) => start,
        Err(error) => return End::Failed { why: error.to_string() },
    };
    let named_gzip = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    if start.starts_with(&GZIP_MAGIC) {
        explain(reader.run(MultiGzDecoder::new(bytes)))
    } else if named_gzip && !start.is_empty() {
        End::Failed { why: "it is named .gz but is not gzip; rename it or compress it again".to_owned() }
    } else {
        reader.run(bytes)
    }
}

/// Says what an error inside a gzip stream means.
fn explain(end: End) -> End {
    match end {
        End::Failed { why } => End::Failed {
            why: format!("its gzip data is damaged or cut ({why}); the lines before were taken"),
        },
        whole => whole,
    }
}
