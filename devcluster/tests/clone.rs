//! Two processes with one node's keys and disk: never both count, and the loser says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Running, running};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use symbolon_client::PutOptions;
use symbolon_devcluster::http;

/// Copied. Node 1 would often lead, and this one follows.
const CLONED: u16 = 3;
const SOON: Duration = Duration::from_secs(30);

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// A second process of a node, at other ports. Killed when dropped.
struct Clone {
    child: Child,
    http: std::net::SocketAddr,
    log: PathBuf,
}

impl Drop for Clone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Clone {
    /// Copies disk and token of a node that stands still meanwhile, and starts the copy beside it.
    fn start(run: &mut Running, node: u16) -> Self {
        let paths = run.cluster.paths().clone();
        let root = paths.root().join("clone");
        let (data, token) = (root.join("data"), root.join("token"));
        run.cluster.pause(node).unwrap();
        copy(&paths.data(node), &data);
        copy(&paths.token(node), &token);
        run.cluster.resume(node).unwrap();

        let free = |tcp: bool| {
            if tcp {
                TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
            } else {
                UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
            }
        };
        let (quic, http) = (free(false), free(true));
        let moved = |text: String| {
            text.replace(paths.data(node).to_str().unwrap(), data.to_str().unwrap())
                .replace(paths.token(node).to_str().unwrap(), token.to_str().unwrap())
        };
        let config = moved(std::fs::read_to_string(paths.config(node)).unwrap());
        let mut listens = [quic, http].into_iter();
        let config: Vec<String> = config
            .lines()
            .map(|line| match line.starts_with("listen") {
                true => format!("listen = \"{}\"", listens.next().unwrap()),
                false => line.to_owned(),
            })
            .collect();
        assert!(listens.next().is_none(), "{config:?}");
        std::fs::write(root.join("node.toml"), config.join("\n")).unwrap();
        let softhsm = moved(std::fs::read_to_string(paths.softhsm_conf(node)).unwrap());
        std::fs::write(root.join("softhsm2.conf"), softhsm).unwrap();
        let log = root.join("log");
        let out = std::fs::File::create(&log).unwrap();
        let child = Command::new(&run.cluster.binaries().node)
            .args(["run", "--config"])
            .arg(root.join("node.toml"))
            .env("SOFTHSM2_CONF", root.join("softhsm2.conf"))
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Self { child, http, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_node_and_its_clone_never_both_count_and_the_loser_says_so() {
    let mut run = running().await;
    run.writer.put("prod/a", b"first", PutOptions::default()).await.unwrap();
    let clone = Clone::start(&mut run, CLONED);

    let until = tokio::time::Instant::now() + SOON;
    let mut frozen = false;
    while !frozen {
        assert!(
            tokio::time::Instant::now() < until,
            "nobody gives way\n{}\n{}",
            clone.log(),
            run.logs()
        );
        let original = run.cluster.ready(CLONED).await.unwrap();
        let beside = http::get(clone.http, "/ready")
            .await
            .is_ok_and(|answer| answer.status == 200);
        assert!(!(original && beside), "both serve\n{}\n{}", clone.log(), run.logs());
        // Each read takes one fragment of each index at most: more would not combine, or blame somebody.
        let opened = run.read("prod/a", None).await.unwrap();
        assert_eq!(opened.value.expose(), b"first");
        assert!(opened.culprits.is_empty(), "{:?}", opened.culprits);
        let health = run.cluster.http(CLONED, "/health").await.unwrap();
        frozen = health.status == 503 && health.body.contains("superseded");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = run.cluster.http(CLONED, "/ready").await.unwrap();
    assert_eq!(told.status, 503);
    assert!(told.body.contains("two processes have its keys"), "{}", told.body);

    // The other two go on, without either.
    run.writer
        .put("prod/a", b"second", PutOptions::default())
        .await
        .unwrap();
    let opened = run.read("prod/a", None).await.unwrap();
    assert_eq!(opened.value.expose(), b"second");
    let status = run.operator.status().await;
    let of = |node: u16| status.iter().find(|(of, _)| *of == node).map(|(_, status)| status);
    let state = of(CLONED).map(|status| status.as_ref().map(|status| status.state.clone()));
    assert!(matches!(state, Some(Ok(state)) if state == "superseded"), "{status:?}");

    // Once the copy is gone, the node starts again at its place and counts.
    drop(clone);
    run.cluster.stop(CLONED).await.unwrap();
    run.cluster.start(CLONED).unwrap();
    run.cluster.wait_ready(SOON).await.unwrap();
}
