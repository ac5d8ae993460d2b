//! Versions of a secret: `delete` hides them, `undelete` shows them again, `destroy` ends them.

use crate::failure::{local, usage};
use crate::output::{Record, say};
use crate::progress::while_waiting;
use crate::session::{connect, secret_path};
use crate::settings::Settings;
use crate::verbs::secrets::nothing_there;
use clap::{ArgGroup, Args};
use std::io::{BufRead, IsTerminal, Write};
use symbolon_client::{Error, Submitted};
use symbolon_wire::path::Path;

/// Which versions of which secret.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["versions", "all"])))]
pub(crate) struct Which {
    /// Path, such as prod/stripe/key
    path: String,
    /// These versions
    #[arg(long, value_delimiter = ',', value_name = "VERSIONS")]
    versions: Vec<u64>,
    /// All versions up to the latest
    #[arg(long)]
    all: bool,
}

impl Which {
    /// As it is written.
    fn shown(&self) -> String {
        let versions: Vec<String> = self.versions.iter().map(u64::to_string).collect();
        match self.all {
            true => "--all".to_owned(),
            false => format!("--versions {}", versions.join(",")),
        }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  symbolon delete prod/stripe/key --versions 1,2\n  symbolon delete prod/stripe/key --all"
)]
pub(crate) struct Delete {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  symbolon undelete prod/stripe/key --versions 2\n  symbolon undelete prod/stripe/key --all"
)]
pub(crate) struct Undelete {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  symbolon destroy prod/stripe/key --versions 1,2
  symbolon destroy prod/stripe/key --all --yes

No node releases a fragment of a destroyed version again, and each erases its own. Sealed copies stay in the nodes' logs
until the next snapshots, and in backups.")]
pub(crate) struct Destroy {
    #[command(flatten)]
    which: Which,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// `delete`.
pub(crate) async fn delete(delete: &Delete, settings: &Settings) -> Result<u8, Error> {
    let path = secret_path(&delete.which.path)?;
    let client = connect(settings).await?;
    let done = while_waiting("deleting", client.delete(path.as_str(), &delete.which.versions)).await;
    told(
        done,
        &path,
        &format!(
            "hidden from reads; symbolon undelete {path} {} shows again what is not destroyed",
            delete.which.shown()
        ),
        settings,
    )
}

/// `undelete`.
pub(crate) async fn undelete(undelete: &Undelete, settings: &Settings) -> Result<u8, Error> {
    let path = secret_path(&undelete.which.path)?;
    let client = connect(settings).await?;
    let done = while_waiting("undeleting", client.undelete(path.as_str(), &undelete.which.versions)).await;
    let what = match undelete.which.all {
        true => "all that is not destroyed is shown again to whoever may read it",
        false => "shown again to whoever may read it",
    };
    told(done, &path, what, settings)
}

/// `destroy`.
pub(crate) async fn destroy(destroy: &Destroy, settings: &Settings) -> Result<u8, Error> {
    let path = secret_path(&destroy.which.path)?;
    if !destroy.yes {
        agreed(&path, &destroy.which)?;
    }
    let client = connect(settings).await?;
    let done = while_waiting("destroying", client.destroy(path.as_str(), &destroy.which.versions)).await;
    told(
        done,
        &path,
        "destroyed: no node releases a fragment of it again",
        settings,
    )
}

fn told(done: Result<Submitted, Error>, path: &Path, what: &str, settings: &Settings) -> Result<u8, Error> {
    let done = done.map_err(|error| nothing_there(error, path))?;
    say(what);
    settings.output.one(
        &Record::new()
            .with("path", path.to_string())
            .with("log_index", done.index),
    )?;
    Ok(crate::DONE)
}

/// Asks on a terminal; elsewhere `--yes` is needed.
fn agreed(path: &Path, which: &Which) -> Result<(), Error> {
    let refused = |why: &str| usage(why).next(format!("symbolon destroy {path} … --yes"));
    let (input, mut output) = (std::io::stdin(), std::io::stderr());
    if !input.is_terminal() {
        return Err(refused("nothing was destroyed: nobody is there to be asked"));
    }
    let what = if which.all {
        "all versions".to_owned()
    } else {
        format!("versions {:?}", which.versions)
    };
    let mut answer = String::new();
    write!(output, "Destroy {what} of {path} for good? Type the path to agree: ")
        .and_then(|()| output.flush())
        .and_then(|()| input.lock().read_line(&mut answer))
        .map_err(|error| local(format!("the terminal cannot be read: {error}")))?;
    if answer.trim() == path.as_str() {
        return Ok(());
    }
    Err(refused("nothing was destroyed: that was not the path"))
}
