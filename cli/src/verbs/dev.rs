//! `dev`: a cluster on this machine, until Ctrl-C.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use symbolon_devcluster::limits::READY_WITHIN;
use symbolon_devcluster::{Cluster, ClusterError, CreateError, OpenError, Paths, Spec, TokenKind};
use symbolon_wire::v1;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Error, file, local, usage};
use crate::output::say;
use crate::progress::while_waiting;
use crate::session::connect;
use crate::settings::{Displaced, Global, Places, Settings, write_context};
use crate::verbs::status;

/// The policies of a new cluster. The empty set denies all, which is right everywhere but at a first try.
const POLICIES: &str = include_str!("dev.cedar");

/// The context that `dev` writes.
const CONTEXT: &str = "dev";

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  symbolon dev\n  symbolon dev --dir ./cluster --fresh\n\n\
                        The cluster is for development: its processes and tokens are on one machine, and the operator's\n\
                        key lies beside them. Another terminal reaches it through the context 'dev'.")]
pub(crate) struct Dev {
    /// Folder of the cluster; kept, and taken up again the next time
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Remove the folder's cluster first, with all that it holds
    #[arg(long)]
    fresh: bool,
    /// Nodes of a new cluster: 3, 5 or 7
    #[arg(long, default_value_t = 3, value_name = "N")]
    nodes: u16,
    /// Keep the nodes' keys in files instead of SoftHSM tokens
    #[arg(long)]
    software_token: bool,
}

/// `dev`.
pub(crate) async fn dev(dev: &Dev, settings: &Settings) -> Result<u8, Error> {
    if !matches!(dev.nodes, 3 | 5 | 7) {
        return Err(usage(format!("{} nodes; 3, 5 or 7 are possible", dev.nodes)));
    }
    let folder = match &dev.dir {
        Some(folder) => std::path::absolute(folder).map_err(|error| file(folder, &error))?,
        None => default_folder()?,
    };
    // Before anything starts, so that Ctrl-C always reaches us first and the nodes are stopped by us.
    let mut stop = stop_signals()?;
    let mut cluster = take_up(&folder, dev).await?;
    let started = while_waiting("starting the nodes", cluster.start_all(READY_WITHIN)).await;
    started.map_err(from_cluster)?;
    let identity = cluster
        .paths()
        .identity(cluster.operators().first().map_or("op-1", String::as_str));
    let written = write_context(&settings.user_file, CONTEXT, cluster.endpoint(), &identity)?;
    show(&cluster, &identity, settings).await?;
    say(&format!(
        "\ncluster   {}\naddress   {}\noperator  {}",
        folder.display(),
        cluster.endpoint(),
        identity.display()
    ));
    if let Some(before) = written.displaced {
        say(&moved(&before));
    }
    let flag = if written.chosen { "" } else { " --context dev" };
    say(&format!(
        "\nIn another terminal:\n  symbolon{flag} put prod/stripe/key\n  symbolon{flag} get prod/stripe/key --reveal\n  \
         symbolon{flag} policy show --text\n\nCtrl-C stops the nodes; their data stays."
    ));
    let ended = watch(&mut cluster, &mut stop).await?;
    say("\nstopping");
    cluster.stop_all().await.map_err(from_cluster)?;
    match ended {
        None => Ok(crate::DONE),
        Some(error) => Err(error),
    }
}

/// Whoever works with the other cluster in another terminal must not learn it from their values.
fn moved(before: &Displaced) -> String {
    let (place, back) = match before {
        Displaced::DevFolder(folder) => {
            let folder = folder.display();
            (
                format!("the cluster in {folder}"),
                format!("symbolon dev --dir {folder}"),
            )
        }
        Displaced::Endpoint(endpoint) => (endpoint.clone(), "edit the configuration file".to_owned()),
    };
    format!(
        "\nwarning: context '{CONTEXT}' led to {place}; from now on it leads here\n  next     {back}   (leads it back)"
    )
}

/// `$XDG_DATA_HOME/symbolon/dev-cluster`.
fn default_folder() -> Result<PathBuf, Error> {
    let absolute = |variable: &str| {
        std::env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    let base = base.ok_or_else(|| local("neither HOME nor XDG_DATA_HOME is set").next("symbolon dev --dir FOLDER"))?;
    Ok(base.join("symbolon/dev-cluster"))
}

async fn take_up(folder: &Path, dev: &Dev) -> Result<Cluster, Error> {
    let exists = Paths::new(folder).description().is_file();
    if exists && !dev.fresh {
        return Cluster::open(folder).map_err(from_open);
    }
    if exists {
        // Also refuses while nodes of it still run.
        drop(Cluster::open(folder).map_err(from_open)?);
        std::fs::remove_dir_all(folder).map_err(|error| file(folder, &error))?;
    } else if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        // A folder of the user's may hold anything; the default one, what was left when a cluster was made half.
        if dev.dir.is_none() && dev.fresh {
            std::fs::remove_dir_all(folder).map_err(|error| file(folder, &error))?;
        } else {
            let message = format!("{} is not empty and holds no cluster", folder.display());
            return Err(usage(message).next(match dev.dir {
                None => "symbolon dev --fresh",
                Some(_) => "give an empty or new folder with --dir",
            }));
        }
    }
    let token = if dev.software_token {
        TokenKind::Software
    } else {
        TokenKind::SoftHsm
    };
    let spec = Spec {
        nodes: dev.nodes,
        token,
        ..Spec::default()
    };
    let theirs = folder.exists();
    let made = while_waiting("making tokens and a genesis roster", Cluster::create(folder, spec)).await;
    if made.is_err() {
        // Half a cluster cannot be taken up, and nothing else was there. What cannot be removed the next start names.
        remove_all_in(folder);
        if !theirs {
            let _ = std::fs::remove_dir(folder);
        }
    }
    made.map_err(from_create)
}

/// Leaves the folder itself, which may be a link to one.
fn remove_all_in(folder: &Path) {
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let path = entry.path();
        let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
    }
}

/// The status table, as a user of the new context would see it; a new cluster first gets its policies.
async fn show(cluster: &Cluster, identity: &Path, settings: &Settings) -> Result<(), Error> {
    let global = Global {
        endpoint: Some(cluster.endpoint().to_owned()),
        identity: Some(identity.to_path_buf()),
        config: Some(settings.user_file.clone()),
        output: Some(settings.output.format),
        timeout: Some(settings.timeout),
        ..Global::default()
    };
    let own = Settings::resolve(global, &Places::of_this_process()?)?;
    let client = connect(&own).await?;
    if client.policies().await?.version == 0 {
        let source = v1::PolicySource {
            name: "dev.cedar".to_owned(),
            text: POLICIES.to_owned(),
        };
        client.set_policies(Some(0), vec![source]).await?;
    }
    let answers = client.status().await;
    status::show(&client, &answers, false, &own)?;
    Ok(())
}

type Stop = (tokio::signal::unix::Signal, tokio::signal::unix::Signal);

fn stop_signals() -> Result<Stop, Error> {
    let install = |kind| signal(kind).map_err(|error| local(format!("signals: {error}")));
    Ok((install(SignalKind::interrupt())?, install(SignalKind::terminate())?))
}

/// A node that ends this soon after it was started again is not started once more.
const RESTART_PAUSE: Duration = Duration::from_secs(10);

/// Waits for Ctrl-C or SIGTERM. A node that ends by itself is started again, as a service manager would, so that killing
/// one shows what it should show.
async fn watch(cluster: &mut Cluster, (interrupt, terminate): &mut Stop) -> Result<Option<Error>, Error> {
    let mut restarted: BTreeMap<u16, Instant> = BTreeMap::new();
    let mut look = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(None),
            _ = terminate.recv() => return Ok(None),
            _ = look.tick() => {
                for node in cluster.nodes() {
                    if let Some(status) = cluster.ended(node).map_err(from_cluster)? {
                        let log = cluster.paths().log(node);
                        let last = restarted.insert(node, Instant::now());
                        if last.is_some_and(|last| last.elapsed() < RESTART_PAUSE) {
                            let error = local(format!("node {node} has ended by itself again ({status})"));
                            return Ok(Some(error.next(format!("less {}", log.display()))));
                        }
                        say(&format!("node {node} has ended by itself ({status}); it is started again"));
                        cluster.start(node).map_err(from_cluster)?;
                    }
                }
            }
        }
    }
}

/// The reasons come line by line; the first is what.
fn lines(text: &str) -> Error {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = local(lines.next().unwrap_or("the local cluster failed"));
    lines.fold(first, |error, line| error.because(line.trim()))
}

pub(crate) fn from_create(error: CreateError) -> Error {
    match &error {
        CreateError::Exists(folder) => {
            usage(error.to_string()).next(format!("symbolon dev --fresh --dir {}", folder.display()))
        }
        _ => lines(&error.to_string()),
    }
}

pub(crate) fn from_open(error: OpenError) -> Error {
    match &error {
        OpenError::LeftBehind { pid, .. } => lines(&error.to_string()).next(format!(
            "use the `symbolon dev` that runs it, or stop it there; if there is none: kill {pid}"
        )),
        _ => lines(&error.to_string()),
    }
}

pub(crate) fn from_cluster(error: ClusterError) -> Error {
    match error {
        ClusterError::Client(error) => error,
        other => lines(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_of_a_new_cluster_compile() {
        let source = symbolon_policy::Source {
            name: "dev.cedar".into(),
            text: POLICIES.into(),
        };
        assert_eq!(symbolon_policy::PolicySet::compile(&[source]).unwrap().len(), 2);
    }

    #[test]
    fn an_error_of_many_lines_says_first_what_and_then_why() {
        let error = lines("node 2 ended (exit status: 1); the end of its log:\n  a\n\n  b\n").to_string();
        assert_eq!(
            error,
            "error[SY0700]: node 2 ended (exit status: 1); the end of its log:\n  because  a\n  because  b"
        );
    }
}
