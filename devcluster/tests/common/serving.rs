//! A cluster of which one node lies to clients: whoever reads reads the right values, and honest nodes are never blamed.

use super::{Running, running};
use std::time::Duration;
use symbolon_client::{Culprit, PutOptions, Who};

/// Secrets that there are.
pub const SECRETS: usize = 8;
const READS: usize = 24;

/// Writes a version of every secret: `value N` and what comes behind it.
pub async fn write(run: &Running, behind: &str) {
    for number in 0..SECRETS {
        let (path, value) = (format!("prod/{number}"), format!("value {number}{behind}"));
        let put = run.writer.put(&path, value.as_bytes(), PutOptions::default()).await;
        put.unwrap_or_else(|error| panic!("{error}\n{}", run.logs()));
    }
}

/// Starts a cluster with secrets, and one of its nodes again as a liar.
pub async fn lying(liar: u16, lie: &str) -> Running {
    let mut run = running().await;
    write(&run, "").await;
    run.cluster.kill(liar).unwrap();
    run.cluster.start_sabotaged(liar, lie).unwrap();
    run.cluster.wait_ready(Duration::from_secs(30)).await.unwrap();
    run
}

/// Reads every secret several times, honest nodes standing still in turn so that the liar is asked as well: a client asks the
/// two nodes that answer fastest, the first of them for the ciphertext. Returns what the liar was blamed for.
pub async fn read(run: &mut Running, liar: u16, behind: &str) -> Vec<Culprit> {
    let honest: Vec<u16> = run.cluster.nodes().into_iter().filter(|node| *node != liar).collect();
    let mut caught = Vec::new();
    for read in 0..READS {
        let number = read % SECRETS;
        let path = format!("prod/{number}");
        let opened = match read % 3 {
            0 => run.read_without(honest[read / 3 % honest.len()], &path).await,
            _ => run.read(&path, None).await,
        };
        let opened = opened.unwrap_or_else(|error| panic!("{error}\n{}", run.logs()));
        assert_eq!(opened.value.expose(), format!("value {number}{behind}").as_bytes());
        for culprit in opened.culprits {
            assert_eq!(culprit.who, Who::Node(liar), "an honest node was blamed: {culprit}");
            caught.push(culprit);
        }
    }
    caught
}
