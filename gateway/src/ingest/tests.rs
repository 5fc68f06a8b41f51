//! Tests of ingest over a fake log.
