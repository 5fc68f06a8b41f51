//! The API on the real store.

use super::*;
use crate::{
    committer::{CommittedGroup, Committer, CommitterConfig, Entry},
    log::CommittedLog,
    store::{Committed, Store, StoreConfig},
};

/// Two robots with batches in turn, enough for several small partitions.
fn world() -> World {
    let mut world = World::default();
    let schema = world.schema(&["x", "mode"]);
    for batch in 0..60 {
        let fields: Vec<[(u32, Sample); 2]> = (0..100_u32)
            .map(|row| {
                [
                    (0, Sample::Float((f64::from(row) + f64::from(batch)).sin())),
                    (1, Sample::Text(format!("m{row}"))),
                ]
            })
            .collect();
        let rows: Vec<(i64, &[(u32, Sample)])> = fields
            .iter()
            .zip(0..)
            .map(|(fields, row)| (i64::from(batch) * 1000 + row, &fields[..]))
            .collect();
        world.batch(if batch % 3 == 0 { "f/other" } else { "f/r" }, &schema, &rows);
    }
    world
}

/// Commits what the world's log holds, and joins the ends of the store.
fn commit(log: &Memory, folder: &std::path::Path) -> (Committer, CommittedLog) {
    let config = StoreConfig { partition_bytes: 16 * 1024, ..StoreConfig::default() };
    let opened = Store::open(folder, config, LogId([7; 16])).unwrap();
    let on_commit = Box::new(|_: &CommittedGroup<'_>| ());
    let committer =
        Committer::spawn(opened.store, Clock::new(), CommitterConfig::default(), on_commit, Box::new(|_| ()))
            .unwrap();
    for (offset, envelope) in &log.records {
        let Body::Batch { info, .. } = &envelope.body else { unreachable!("the world has batches only") };
        let schema = Some((info.schema, log.schemas[&info.schema].encoded().clone()));
        let (told, done) = mpsc::sync_channel(1);
        let done_told = Box::new(move |outcome: Result<Committed, _>| {
            told.send(outcome.map(Committed::offset)).unwrap();
        });
        let entry = Entry { envelope: envelope.clone(), schema, decoded: None, done: done_told };
        committer.handle().submit(entry).unwrap();
        assert_eq!(done.recv().unwrap(), Ok(*offset));
    }
    let log = CommittedLog::new(committer.handle(), opened.reader);
    (committer, log)
}

#[test]
fn the_store_serves_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let in_memory = world();
    let (committer, stored) = commit(&in_memory.log, folder.path());
    let stored = Server::start(Arc::new(Api { log: Arc::new(stored), ..world().api() }));
    let memory = in_memory.serve();
    for query in [
        "",
        "?channels=m*",
        "?from=20000&to=31050",
        "?after=31:7",
        "?after=31:7&from=40000&channels=x",
        "?from=-1&to=1",
    ] {
        let path = format!("/v1/robots/f/r/samples{query}");
        let (expected, found) = (memory.get(&path).body.unwrap(), stored.get(&path).body.unwrap());
        assert_eq!(found, expected, "{query}");
    }
    assert!(stored.json("/v1/fleet")["log"]["next"] == 61);
    let metrics = stored.get("/metrics").body.unwrap();
    assert!(metrics.contains("\nmuster_log_next_offset 61\n"), "{metrics}");
    assert!(metrics.contains("\nmuster_store_blob_files 0\n"), "{metrics}");
    committer.shutdown();
}
