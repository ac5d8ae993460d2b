//! Old audit entries move to an archive, whose files may be moved away, and back: what was proven stays provable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Running, running, until};
use std::path::{Path, PathBuf};
use std::time::Duration;
use symbolon_client::audit::{self, Wanted};
use symbolon_client::{Code, PutOptions};
use tokio::task::JoinSet;

const NODE: u16 = 1;
const WITHIN: Duration = Duration::from_secs(60);

/// Lets the node decide so often: it is one of two that there are to ask.
async fn decide(run: &mut Running, count: usize) {
    run.cluster.kill(3).unwrap();
    run.writer
        .put("prod/key", b"value", PutOptions::default())
        .await
        .unwrap();
    let mut reads = JoinSet::new();
    for _ in 0..count {
        let reader = run.reader.clone();
        reads.spawn(async move { reader.get("prod/key", None, "").await.map(drop) });
        if reads.len() >= 32 {
            reads.join_next().await.unwrap().unwrap().unwrap();
        }
    }
    for read in reads.join_all().await {
        read.unwrap();
    }
    run.cluster.start(3).unwrap();
    run.cluster.wait_ready(WITHIN).await.unwrap();
}

fn archived(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_none());
    files.sort();
    files
}

fn entry(entry: u64) -> Wanted {
    Wanted::Entry { node: NODE, entry }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_audit_entries_move_to_an_archive_and_every_proof_stays() {
    let mut run = running().await;
    let folder = run.cluster.paths().root().join("archive");
    decide(&mut run, 600).await;
    run.cluster.kill(NODE).unwrap();
    let config = run.cluster.paths().config(NODE);
    let text = std::fs::read_to_string(&config).unwrap();
    let archive = format!("\n[archive]\nfolder = \"{}\"\nkeep = \"1s\"\n", folder.display());
    std::fs::write(&config, text + &archive).unwrap();
    run.cluster.start(NODE).unwrap();
    run.cluster.wait_ready(WITHIN).await.unwrap();
    until("entries are archived", WITHIN, async || !archived(&folder).is_empty()).await;

    let whole = audit::verify(&run.operator, NODE).await.unwrap();
    assert_eq!(whole.archived, 0, "the node reads them from the archive");
    let (proof, _) = audit::prove(&run.operator, &entry(5), WITHIN).await.unwrap();

    let away = run.cluster.paths().root().join("away");
    std::fs::rename(&folder, &away).unwrap();
    let gone = audit::prove(&run.operator, &entry(5), WITHIN).await.unwrap_err();
    assert_eq!(gone.code, Code::NotFound, "{gone}");
    assert!(gone.message.contains("archived") && gone.culprits.is_empty(), "{gone}");
    let known = audit::verify(&run.operator, NODE).await.unwrap();
    assert!(known.archived >= 256 && known.archived % 256 == 0, "{known:?}");
    let exported = run.cluster.paths().root().join("exported");
    let export = audit::export(&run.operator, NODE, &exported).await.unwrap();
    assert_eq!(export.archived, known.archived);
    let offline = audit::verify_dir(&exported, &run.operator.roster().hash).unwrap();
    assert_eq!((offline.size, offline.archived), (export.size, export.archived));

    // A file that was changed is as good as none.
    std::fs::create_dir(&folder).unwrap();
    let first = archived(&away).remove(0);
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[40] ^= 1;
    let back = folder.join(first.file_name().unwrap());
    std::fs::write(&back, bytes).unwrap();
    let changed = audit::prove(&run.operator, &entry(0), WITHIN).await.unwrap_err();
    assert_eq!(changed.code, Code::NotFound, "{changed}");

    std::fs::copy(&first, &back).unwrap();
    run.cluster.kill(NODE).unwrap();
    run.cluster.start(NODE).unwrap();
    run.cluster.wait_ready(WITHIN).await.unwrap();
    let (again, _) = audit::prove(&run.operator, &entry(5), WITHIN).await.unwrap();
    assert_eq!(again.leaf, proof.leaf);
    audit::verify_proof(&proof, run.operator.roster()).unwrap();
    audit::verify_proof(&again, run.operator.roster()).unwrap();
}
