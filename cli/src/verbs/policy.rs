//! `policy apply|show|check`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use symbolon_policy::{PolicySet, Source};
use symbolon_wire::Code;
use symbolon_wire::limits::{POLICY_BYTES_MAX, POLICY_SOURCES_MAX};
use symbolon_wire::v1::{self, command_body::Payload};

use crate::failure::{Error, file, local, usage};
use crate::output::{Record, counted, say, write_all};
use crate::progress::while_waiting;
use crate::session::connect;
use crate::settings::Settings;
use crate::verbs::command::{Change, Saving, submit_or_save};

/// How policy files end.
const EXTENSION: &str = "cedar";

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Replace the policy set by these files; they are checked here first
    #[command(after_help = "Example:\n  symbolon policy apply policies/\n  \
                            symbolon policy apply policies/ --save p.command   # where several operators must sign")]
    Apply(Apply),
    /// Show the set that is in force
    #[command(after_help = "Example:\n  symbolon policy show\n  symbolon policy show --text")]
    Show {
        /// Print the files instead of a table
        #[arg(long)]
        text: bool,
    },
    /// Check files without a cluster
    #[command(after_help = "Example:\n  symbolon policy check policies/")]
    Check {
        /// Files, or folders with .cedar files
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// Files, or folders with .cedar files: together the whole set
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    saving: Saving,
}

/// `policy`.
pub(crate) async fn policy(verb: &Policy, settings: &Settings) -> Result<u8, Error> {
    match verb {
        Policy::Check { paths } => {
            let set = compile(&collect(paths)?)?;
            settings
                .output
                .list(&listed(&set), "no policy: everything would be denied")?;
            Ok(crate::DONE)
        }
        Policy::Apply(apply) => {
            let sources = collect(&apply.paths)?;
            let set = compile(&sources)?;
            if set.is_empty() {
                say("warning: this set has no policy, so that everything will be denied");
            }
            let client = connect(settings).await?;
            let current = while_waiting("asking for the current policies", client.policies()).await?;
            let files: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
            let version = current.version.saturating_add(1);
            let change = Change {
                signatures_needed: client.roster().policy_signatures,
                done: format!(
                    "policy set {version} is in force: {} in {}",
                    counted(set.len(), "policy", "policies"),
                    counted(files.len(), "file", "files")
                ),
                record: Record::new().with("policies", set.len()).with("files", files),
                next: "symbolon policy show   (what is in force); symbolon audit tail   (what comes of it)".to_owned(),
                payload: Payload::Policies(v1::SetPolicies {
                    previous: current.version,
                    sources: sources
                        .into_iter()
                        .map(|Source { name, text }| v1::PolicySource { name, text })
                        .collect(),
                }),
            };
            submit_or_save(&client, change, &apply.saving, settings).await
        }
        Policy::Show { text } => {
            let client = connect(settings).await?;
            let current = while_waiting("asking for the policies", client.policies()).await?;
            if *text {
                for source in &current.sources {
                    write_all(&format!("// {}\n{}\n", source.name, source.text.trim_end()))?;
                }
                return Ok(crate::DONE);
            }
            let sources = current.sources.iter();
            let sources: Vec<Source> = sources
                .map(|source| Source {
                    name: source.name.clone(),
                    text: source.text.clone(),
                })
                .collect();
            let set = compile(&sources)?;
            say(&format!(
                "version {}, hash {}",
                current.version,
                hex::encode(&current.hash)
            ));
            settings.output.list(&listed(&set), "no policy: everything is denied")?;
            Ok(crate::DONE)
        }
    }
}

fn compile(sources: &[Source]) -> Result<PolicySet, Error> {
    PolicySet::compile(sources).map_err(|error| {
        let text = error.to_string();
        let mut lines = text.lines();
        let first = Error::new(Code::BadPolicy, lines.next().unwrap_or("the policies cannot be used"));
        lines.fold(first, |error, line| error.because(line.trim()))
    })
}

fn listed(set: &PolicySet) -> Vec<Record> {
    set.policies()
        .map(|policy| {
            Record::new()
                .with("id", policy.id.as_ref())
                .with("effect", policy.effect.to_string())
                .with("place", format!("{}:{}", policy.file, policy.line))
                .with("note", policy.note.as_deref().unwrap_or_default())
        })
        .collect()
}

/// Reads the files. A source is named as a person would name the file: by its path as given, or below the given folder.
fn collect(paths: &[PathBuf]) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for path in paths {
        if path.is_dir() {
            let name = path
                .file_name()
                .map_or_else(|| "policies".to_owned(), |name| name.to_string_lossy().into_owned());
            folder(path, &name, &mut sources)?;
        } else {
            let name = path
                .to_str()
                .ok_or_else(|| usage(format!("{} is not UTF-8", path.display())))?;
            add(path, name.trim_start_matches("./").to_owned(), &mut sources)?;
        }
    }
    if sources.is_empty() {
        return Err(usage(format!("no .{EXTENSION} file there")).next("to deny everything, apply an empty file"));
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sources)
}

fn folder(path: &Path, name: &str, sources: &mut Vec<Source>) -> Result<(), Error> {
    let failed = |error: std::io::Error| file(path, &error);
    let mut entries = std::fs::read_dir(path)
        .map_err(failed)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let below = entry.path();
        let base = entry.file_name();
        let base = base
            .to_str()
            .ok_or_else(|| local(format!("{} is not UTF-8", below.display())))?;
        let kind = entry.file_type().map_err(|error| file(&below, &error))?;
        if kind.is_dir() {
            folder(&below, &format!("{name}/{base}"), sources)?;
        } else if below.extension().is_some_and(|extension| extension == EXTENSION) {
            add(&below, format!("{name}/{base}"), sources)?;
        }
    }
    Ok(())
}

fn add(path: &Path, name: String, sources: &mut Vec<Source>) -> Result<(), Error> {
    let bytes = std::fs::metadata(path).map_err(|error| file(path, &error))?.len();
    let limit = u64::try_from(POLICY_BYTES_MAX).unwrap_or(u64::MAX);
    if bytes > limit || sources.len() >= POLICY_SOURCES_MAX {
        let what = format!("at most {POLICY_SOURCES_MAX} files with {POLICY_BYTES_MAX} bytes together make a set");
        return Err(Error::new(Code::TooLarge, what).because(path.display().to_string()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| file(path, &error))?;
    sources.push(Source { name, text });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_in_depth_and_named_by_itself() {
        let world = tempfile::tempdir().unwrap();
        let policies = world.path().join("policies");
        std::fs::create_dir_all(policies.join("teams")).unwrap();
        for (name, text) in [
            ("b.cedar", "// b"),
            ("teams/a.cedar", "// a"),
            ("README.md", "not a policy"),
        ] {
            std::fs::write(policies.join(name), text).unwrap();
        }
        let names: Vec<String> = collect(&[policies])
            .unwrap()
            .into_iter()
            .map(|source| source.name)
            .collect();
        assert_eq!(names, ["policies/b.cedar", "policies/teams/a.cedar"]);
    }

    #[test]
    fn a_folder_without_policies_is_refused() {
        let world = tempfile::tempdir().unwrap();
        assert!(collect(&[world.path().to_path_buf()]).is_err());
    }

    #[test]
    fn a_bad_policy_is_told_with_file_and_line() {
        let source = Source {
            name: "p/x.cedar".into(),
            text: "\npermit(principal, action == Action::\"fly\", resource);".into(),
        };
        let error = compile(&[source]).unwrap_err();
        assert_eq!(error.code, Code::BadPolicy);
        assert!(error.to_string().contains("p/x.cedar:2"), "{error}");
    }
}
