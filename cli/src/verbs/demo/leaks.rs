//! Steps 7 and 9: core dumps right after reads; then the search for the value, its data key, the PINs and every fragment,
//! on disks, in logs, metrics, environments and dumps, together with a canary that must be found.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rand::distr::{Alphanumeric, SampleString};
use symbolon_client::Client;
use symbolon_devcluster::dump::core_dump;
use symbolon_devcluster::leak::{Hit, Needle, Needles, Place, Report, scan, scan_reader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use super::stage::ensure;
use super::story::{World, client, secret};
use crate::failure::{Error, file, local};
use crate::verbs::dev::from_cluster;

/// Bytes of s_i in a fragment s_i ‖ γ_i.
const SCALAR_BYTES: usize = 32;

/// Reads that may be needed until a given node is among those that release.
const READS_MAX: usize = 32;

/// The name of the canary in reports.
const CANARY: &str = "the canary";

/// The secret's name: nodes know it, and so it must be found in the core dump of each (else the dump would prove nothing);
/// but what lies on disks and in logs must not tell it.
const NAME: &str = "the secret's name";

/// What was learnt of the secret, and what was dumped.
#[derive(Default)]
pub(crate) struct Known {
    data_key: Option<Zeroizing<[u8; 32]>>,
    /// By node: s_i ‖ γ_i.
    fragments: BTreeMap<u16, Zeroizing<Vec<u8>>>,
    /// By node.
    cores: BTreeMap<u16, PathBuf>,
    metrics: BTreeMap<u16, String>,
}

impl Known {
    async fn learn(&mut self, agent: &Client) -> Result<Vec<u16>, Error> {
        let (_, key) = agent.get_with_evidence(secret(), None, "evidence").await?;
        self.data_key = Some(Zeroizing::new(*key.data_key.expose()));
        let mut nodes = Vec::new();
        for (node, fragment) in &key.fragments {
            nodes.push(*node);
            self.fragments.insert(*node, Zeroizing::new(fragment.expose().to_vec()));
        }
        Ok(nodes)
    }
}

/// Step 7.
pub(crate) async fn dump(world: &mut World) -> Result<String, Error> {
    let agent = client(world, "billing-bot").await?;
    let mut bytes = 0;
    for node in world.cluster.nodes() {
        learn_from(world, &agent, node).await?;
        let pid = world.cluster.pid(node).map_err(from_cluster)?;
        world
            .stage
            .show_command(&format!("gcore -a -o cores/node-{node} {pid}"))?;
        let core = world.cluster.core_dump(node).await.map_err(from_cluster)?;
        bytes += fs::metadata(&core).map_err(|error| file(&core, &error))?.len();
        world.known.cores.insert(node, core);
        let metrics = world.cluster.http(node, "/metrics").await.map_err(from_cluster)?;
        ensure(
            metrics.status == 200,
            format!("node {node} gives no metrics ({})", metrics.status),
        )?;
        world.known.metrics.insert(node, metrics.body);
    }
    Ok(format!(
        "{} MiB of memory of three processes, each taken right after it released a fragment",
        bytes / (1024 * 1024)
    ))
}

/// Reads until this node is among those that released. A read asks the nearest t; a paused one makes it ask another.
async fn learn_from(world: &mut World, agent: &Client, node: u16) -> Result<(), Error> {
    for _ in 0..READS_MAX {
        let answered = world.known.learn(agent).await?;
        if answered.contains(&node) {
            return Ok(());
        }
        let Some(other) = answered.first().copied() else {
            continue;
        };
        world.cluster.pause(other).map_err(from_cluster)?;
        let read = world.known.learn(agent).await;
        world.cluster.resume(other).map_err(from_cluster)?;
        if read?.contains(&node) {
            return Ok(());
        }
    }
    Err(local(format!("node {node} released no fragment in {READS_MAX} reads")))
}

/// Step 9.
pub(crate) async fn search(world: &mut World) -> Result<String, Error> {
    let canary = format!("canary_{}", Alphanumeric.sample_string(&mut rand::rng(), 40));
    let needles = needles(world, &canary)?;
    let planted = plant(world, &canary).await?;

    let (roots, except) = world.cluster.scanned();
    let mut report = scan(&roots, &except, &needles);
    for (node, text) in &world.known.metrics {
        scan_reader(
            Place::Text(format!("the metrics of node {node}")),
            text.as_bytes(),
            &needles,
            &mut report,
        );
    }
    world
        .cluster
        .scan_processes(&needles, &mut report)
        .map_err(from_cluster)?;
    for core in world.known.cores.values() {
        report.merge(scan(std::slice::from_ref(core), &[], &needles));
    }
    report.merge(scan(std::slice::from_ref(&planted.core), &[], &needles));
    verdict(world, &needles, &report, &planted)
}

/// What must not be found, and the canary.
fn needles(world: &World, canary: &str) -> Result<Needles, Error> {
    let mut needles = vec![
        Needle::new("the value", world.value.as_bytes()),
        Needle::new(CANARY, canary.as_bytes()),
        Needle::new(NAME, secret().as_bytes()),
    ];
    let data_key = world
        .known
        .data_key
        .as_ref()
        .ok_or_else(|| local("the data key is not known"))?;
    needles.push(Needle::new("the data key", data_key.as_slice()));
    for (node, fragment) in &world.known.fragments {
        let (scalar, mask) = fragment
            .split_at_checked(SCALAR_BYTES)
            .ok_or_else(|| local("a fragment is too short"))?;
        needles.push(Needle::new(scalar_name(*node), scalar));
        needles.push(Needle::new(mask_name(*node), mask));
    }
    needles.extend(world.cluster.pin_needles().map_err(from_cluster)?);
    Needles::compile(&needles).map_err(|error| local(error.to_string()))
}

fn scalar_name(node: u16) -> String {
    format!("the fragment of node {node}")
}

fn mask_name(node: u16) -> String {
    format!("the blinding of node {node}")
}

/// Where the canary was planted.
struct Planted {
    file: PathBuf,
    core: PathBuf,
}

/// Plants the canary among the logs, and in the memory of a process that is dumped like the nodes.
async fn plant(world: &World, canary: &str) -> Result<Planted, Error> {
    let failed = |error: std::io::Error| local(format!("the canary could not be planted: {error}"));
    let planted = world.cluster.root().join("logs/canary.log");
    fs::write(&planted, format!("a line with {canary} in it\n")).map_err(|error| file(&planted, &error))?;
    // `cat` holds in its buffer what it has copied; when the copy is back, the buffer is filled.
    let mut holder = tokio::process::Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let pid = holder.id().ok_or_else(|| local("the canary's holder has ended"))?;
    let pipes = holder.stdin.take().zip(holder.stdout.take());
    let (mut stdin, mut stdout) = pipes.ok_or_else(|| local("the canary's holder has no pipes"))?;
    stdin.write_all(canary.as_bytes()).await.map_err(failed)?;
    let mut back = vec![0; canary.len()];
    stdout.read_exact(&mut back).await.map_err(failed)?;
    let core = core_dump(pid, &world.cluster.paths().cores().join("canary")).await;
    holder.kill().await.map_err(failed)?;
    Ok(Planted {
        file: planted,
        core: core.map_err(|error| local(error.to_string()))?,
    })
}

/// Where a needle may be: in a node's memory its own fragment and the names that it serves; the canary where it was planted.
fn allowed(hit: &Hit, cores: &BTreeMap<u16, PathBuf>, planted: &Planted) -> bool {
    let Place::File(path) = &hit.place else { return false };
    if hit.needle == CANARY {
        return *path == planted.file || *path == planted.core;
    }
    let own = |node| hit.needle == NAME || hit.needle == scalar_name(node) || hit.needle == mask_name(node);
    cores.iter().any(|(node, core)| core == path && own(*node))
}

fn verdict(world: &World, needles: &Needles, report: &Report, planted: &Planted) -> Result<String, Error> {
    let cores = &world.known.cores;
    let (fine, bad): (Vec<&Hit>, Vec<&Hit>) = report.hits.iter().partition(|hit| allowed(hit, cores, planted));
    let count = |hits: &[&Hit], name: &str| hits.iter().filter(|hit| hit.needle == name).count();
    for name in needles.names().iter().filter(|name| *name != CANARY) {
        let own = match count(&fine, name) {
            0 => String::new(),
            _ => "   (found in memory of the node that may hold it)".to_owned(),
        };
        world
            .stage
            .tell(&format!("{name:24} {} hits{own}", count(&bad, name)))?;
    }
    let found = |name: &str, path: &Path| {
        let place = Place::File(path.to_path_buf());
        fine.iter().any(|hit| hit.needle == name && hit.place == place)
    };
    let planted_found = found(CANARY, &planted.file) && found(CANARY, &planted.core);
    world.stage.tell(&format!(
        "{CANARY:24} {}",
        if planted_found {
            "found in the log and in the core dump of its holder"
        } else {
            "NOT FOUND"
        }
    ))?;
    if let Some((place, error)) = report.unread.first() {
        return Err(local(format!("{place} could not be searched: {error}")));
    }
    if !bad.is_empty() {
        let error = local(format!("{} hits where there must be none", bad.len()));
        return Err(bad.iter().fold(error, |error, hit| error.because(hit.to_string())));
    }
    ensure(planted_found, "the canary was not found, so the search proves nothing")?;
    for (node, core) in cores {
        let what =
            format!("the core dump of node {node} does not hold a name that the node knows, so it proves nothing");
        ensure(found(NAME, core), what)?;
    }
    Ok(format!(
        "{} places, {} MiB, {} needles in every form: 0 hits; what was planted was found in the same search",
        report.places,
        report.bytes / (1024 * 1024),
        needles.names().len() - 1,
    ))
}

/// Flips one bit in the largest file of an exported audit log; returns its name.
pub(crate) fn flip_one_bit(folder: &Path) -> Result<PathBuf, Error> {
    let mut largest: Option<(u64, PathBuf)> = None;
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| file(&folder, &error))? {
            let path = entry.map_err(|error| file(&folder, &error))?.path();
            let metadata = fs::metadata(&path).map_err(|error| file(&path, &error))?;
            if metadata.is_dir() {
                folders.push(path);
            } else if largest.as_ref().is_none_or(|(bytes, _)| metadata.len() > *bytes) {
                largest = Some((metadata.len(), path));
            }
        }
    }
    let (_, path) = largest.ok_or_else(|| local(format!("{} is empty", folder.display())))?;
    let mut bytes = fs::read(&path).map_err(|error| file(&path, &error))?;
    let middle = bytes.len() / 2;
    let byte = bytes
        .get_mut(middle)
        .ok_or_else(|| local(format!("{} is empty", path.display())))?;
    *byte ^= 1;
    fs::write(&path, bytes).map_err(|error| file(&path, &error))?;
    Ok(path.strip_prefix(folder).map(Path::to_path_buf).unwrap_or(path))
}
