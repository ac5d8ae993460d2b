//! Settings: flag, else `SYMBOLON_*`, else project file, user file, system file, default.
//!
//! ```toml
//! # ~/.config/symbolon/config.toml, /etc/symbolon/config.toml
//! context = "dev"                 # which of the contexts below
//! output = "table"
//! timeout = "10s"
//!
//! [contexts.dev]
//! endpoint = "symbolon://127.0.0.1:7601?genesis=…"
//! identity = "op-1.identity"      # relative to this file
//! ```
//!
//! A project file (`.symbolon.toml`, in this folder or above) chooses a context by name and cannot define one: whoever
//! writes a repository must not choose where the values of those who clone it go.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use symbolon_devcluster::Paths;

use crate::failure::{Error, file, local};
use crate::limits::{CONFIG_BYTES_MAX, TIMEOUT};
use crate::output::{Format, Output};
use crate::times::parse_duration;

/// The name of project files.
const PROJECT_FILE: &str = ".symbolon.toml";

/// Options of every verb.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Global {
    /// Context of the configuration file
    #[arg(
        long,
        global = true,
        env = "SYMBOLON_CONTEXT",
        hide_env_values = true,
        value_name = "NAME"
    )]
    pub(crate) context: Option<String>,
    /// Address of the cluster: symbolon://host:port,…?genesis=…; its roster is fetched there
    #[arg(
        long,
        global = true,
        env = "SYMBOLON_ENDPOINT",
        hide_env_values = true,
        value_name = "URI"
    )]
    pub(crate) endpoint: Option<String>,
    /// Identity file
    #[arg(
        long,
        global = true,
        env = "SYMBOLON_IDENTITY",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub(crate) identity: Option<PathBuf>,
    /// How data is written
    #[arg(
        short,
        long,
        global = true,
        env = "SYMBOLON_OUTPUT",
        hide_env_values = true,
        value_enum,
        value_name = "FORMAT"
    )]
    pub(crate) output: Option<Format>,
    /// Write this field alone
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) field: Option<String>,
    /// How long it may take, such as 10s; of audit logs each answer
    #[arg(long, global = true, env = "SYMBOLON_TIMEOUT", hide_env_values = true, value_parser = parse_duration, value_name = "TIME")]
    pub(crate) timeout: Option<Duration>,
    /// User configuration file
    #[arg(
        long,
        global = true,
        env = "SYMBOLON_CONFIG",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub(crate) config: Option<PathBuf>,
}

impl Global {
    /// As flags and variables alone say it, for verbs that read no file.
    pub(crate) fn output(&self) -> Output {
        Output {
            format: self.output.unwrap_or_default(),
            field: self.field.clone(),
        }
    }
}

/// What the user and system files may say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ConfigFile {
    context: Option<String>,
    output: Option<Format>,
    timeout: Option<String>,
    contexts: BTreeMap<String, ContextEntry>,
}

/// What a project file may say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ProjectFile {
    context: Option<String>,
    output: Option<Format>,
    timeout: Option<String>,
}

/// One context.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextEntry {
    endpoint: String,
    identity: Option<PathBuf>,
}

/// Where files are looked for.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) folder: PathBuf,
    pub(crate) user_file: PathBuf,
    pub(crate) system_file: PathBuf,
}

impl Places {
    pub(crate) fn of_this_process() -> Result<Self, Error> {
        let folder = std::env::current_dir().map_err(|error| local(format!("the current folder: {error}")))?;
        let absolute = |variable: &str| {
            std::env::var_os(variable)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
        let base =
            base.ok_or_else(|| local("neither HOME nor XDG_CONFIG_HOME is set").next("set HOME, or use --config"))?;
        Ok(Self {
            folder,
            user_file: base.join("symbolon/config.toml"),
            system_file: PathBuf::from("/etc/symbolon/config.toml"),
        })
    }
}

/// What holds after all layers.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) context: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) identity: Option<PathBuf>,
    pub(crate) output: Output,
    pub(crate) timeout: Duration,
    pub(crate) user_file: PathBuf,
    /// The folder of the chosen cluster, if `symbolon dev` runs it.
    pub(crate) dev_folder: Option<PathBuf>,
    /// Which configuration files were read, for `doctor`.
    pub(crate) files: Vec<PathBuf>,
}

impl Settings {
    /// Flags and variables are in `global` already; reads the files and fills in what those leave open.
    pub(crate) fn resolve(global: Global, places: &Places) -> Result<Self, Error> {
        let named = global.config.is_some();
        let user_file = global.config.unwrap_or_else(|| places.user_file.clone());
        let mut files = Vec::new();
        let project_path = find_project(&places.folder);
        let project: ProjectFile = read(project_path.as_deref(), &mut files, false).map_err(project_hint)?;
        let user: ConfigFile = read(Some(&user_file), &mut files, named)?;
        let system: ConfigFile = read(Some(&places.system_file), &mut files, false)?;

        let context = global
            .context
            .or(project.context)
            .or_else(|| user.context.clone())
            .or_else(|| system.context.clone());
        let entry = match &context {
            Some(name) => Some(find_context(name, &user, &user_file, &system, &places.system_file)?),
            None => None,
        };
        let of_context = entry.as_ref().filter(|_| global.endpoint.is_none());
        let dev_folder = of_context.and_then(|entry| dev_folder(entry.identity.as_deref()?));
        let timeout_text = project.timeout.or(user.timeout).or(system.timeout);
        let timeout = match (global.timeout, timeout_text) {
            (Some(timeout), _) => timeout,
            (None, Some(text)) => parse_duration(&text).map_err(|error| local(format!("timeout: {error}")))?,
            (None, None) => TIMEOUT,
        };
        Ok(Self {
            context,
            endpoint: global
                .endpoint
                .or_else(|| entry.as_ref().map(|entry| entry.endpoint.clone())),
            identity: global.identity.or_else(|| entry.and_then(|entry| entry.identity)),
            output: Output {
                format: global
                    .output
                    .or(project.output)
                    .or(user.output)
                    .or(system.output)
                    .unwrap_or_default(),
                field: global.field,
            },
            timeout,
            user_file,
            dev_folder,
            files,
        })
    }
}

/// The folder of the cluster whose operator has this identity, if it is one that `symbolon dev` made.
fn dev_folder(identity: &Path) -> Option<PathBuf> {
    let folder = identity.parent()?.parent()?;
    Paths::new(folder).description().is_file().then(|| folder.to_path_buf())
}

/// The project file of this folder or the nearest above.
fn find_project(folder: &Path) -> Option<PathBuf> {
    folder
        .ancestors()
        .map(|above| above.join(PROJECT_FILE))
        .find(|path| path.is_file())
}

/// Reads a file of settings; one that need not be there and is not says nothing.
fn read<T: Default + serde::de::DeserializeOwned>(
    path: Option<&Path>,
    files: &mut Vec<PathBuf>,
    needed: bool,
) -> Result<T, Error> {
    let Some(path) = path else { return Ok(T::default()) };
    let open = match std::fs::File::open(path) {
        Ok(open) => open,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !needed => return Ok(T::default()),
        Err(error) => return Err(file(path, &error)),
    };
    let mut text = String::new();
    let read = open
        .take(CONFIG_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| file(path, &error))?;
    if u64::try_from(read).unwrap_or(u64::MAX) > CONFIG_BYTES_MAX {
        return Err(local(format!(
            "{} is larger than {CONFIG_BYTES_MAX} bytes",
            path.display()
        )));
    }
    files.push(path.to_path_buf());
    toml::from_str(&text).map_err(|error| {
        let what = format!("{} cannot be used: {}", path.display(), error.message());
        let line = error
            .span()
            .map(|span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
        match line {
            Some(line) => local(what).because(format!("line {line} of {}", path.display())),
            None => local(what),
        }
    })
}

fn project_hint(error: Error) -> Error {
    error.next(format!(
        "a {PROJECT_FILE} may only set context, output and timeout; define contexts in ~/.config/symbolon/config.toml"
    ))
}

/// A context, its identity made relative to the file that defines it.
fn find_context(
    name: &str,
    user: &ConfigFile,
    user_file: &Path,
    system: &ConfigFile,
    system_file: &Path,
) -> Result<ContextEntry, Error> {
    let known = [(user, user_file), (system, system_file)];
    let found = known
        .into_iter()
        .find_map(|(config, path)| config.contexts.get(name).map(|entry| (entry, path)));
    let Some((entry, path)) = found else {
        let names: Vec<&str> = known
            .iter()
            .flat_map(|(config, _)| config.contexts.keys().map(String::as_str))
            .collect();
        let names = if names.is_empty() {
            "none is defined".to_owned()
        } else {
            format!("defined are {}", names.join(", "))
        };
        return Err(local(format!("there is no context '{name}'"))
            .because(names)
            .next("symbolon dev, or edit the file"));
    };
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    Ok(ContextEntry {
        endpoint: entry.endpoint.clone(),
        identity: entry.identity.as_ref().map(|identity| folder.join(identity)),
    })
}

/// What writing a context came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// It is the chosen context now.
    pub(crate) chosen: bool,
    /// Another cluster that it led to until now: the folder, if `symbolon dev` made it, else the address.
    pub(crate) displaced: Option<Displaced>,
}

/// Where a context led before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Displaced {
    DevFolder(PathBuf),
    Endpoint(String),
}

/// Writes a context into the user's file, keeping what is there, comments included. It becomes the chosen one only if
/// none is chosen yet.
pub(crate) fn write_context(user_file: &Path, name: &str, endpoint: &str, identity: &Path) -> Result<Written, Error> {
    let text = match std::fs::read_to_string(user_file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(file(user_file, &error)),
    };
    let parsed = text.parse::<toml_edit::DocumentMut>();
    let mut document = parsed.map_err(|error| local(format!("{}: {error}", user_file.display())))?;
    let chosen = match document.get("context").and_then(toml_edit::Item::as_str) {
        Some(chosen) => chosen == name,
        None => {
            document.insert("context", toml_edit::value(name));
            true
        }
    };
    let contexts = document.entry("contexts").or_insert_with(|| {
        let mut table = toml_edit::Table::new();
        table.set_implicit(true);
        table.into()
    });
    let identity = identity
        .to_str()
        .ok_or_else(|| local(format!("{} is not UTF-8", identity.display())))?;
    let mut entry = toml_edit::Table::new();
    entry.insert("endpoint", toml_edit::value(endpoint));
    entry.insert("identity", toml_edit::value(identity));
    let contexts = contexts.as_table_mut();
    let contexts = contexts.ok_or_else(|| local(format!("{}: 'contexts' is not a table", user_file.display())))?;
    let before = contexts.insert(name, entry.into());
    replace_file(user_file, document.to_string().as_bytes())?;
    Ok(Written {
        chosen,
        displaced: before.and_then(|before| displaced(&before, endpoint, identity)),
    })
}

/// The cluster that an entry led to, if it is another than this.
fn displaced(before: &toml_edit::Item, endpoint: &str, identity: &str) -> Option<Displaced> {
    let text = |key: &str| before.get(key).and_then(toml_edit::Item::as_str);
    let (old_endpoint, old_identity) = (text("endpoint")?, text("identity"));
    // The same folder with a new genesis is the same cluster, made anew.
    if old_endpoint == endpoint || old_identity == Some(identity) {
        return None;
    }
    let folder = old_identity.and_then(|identity| dev_folder(Path::new(identity)));
    Some(folder.map_or_else(|| Displaced::Endpoint(old_endpoint.to_owned()), Displaced::DevFolder))
}

/// Replaces a file as a whole, or leaves it as it was. Only its owner may read it.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> Result<(), Error> {
    let new = written(path, content, 0o600)?;
    new.persist(path).map_err(|error| file(path, &error.error))?;
    Ok(())
}

/// As [`replace_file`], for what everybody may read.
pub(crate) fn replace_public_file(path: &Path, content: &[u8]) -> Result<(), Error> {
    let new = written(path, content, 0o644)?;
    new.persist(path).map_err(|error| file(path, &error.error))?;
    Ok(())
}

/// Writes a file as a whole, unless there is one.
pub(crate) fn new_file(path: &Path, content: &[u8]) -> Result<(), Error> {
    let new = written(path, content, 0o600)?;
    new.persist_noclobber(path).map_err(|error| file(path, &error.error))?;
    Ok(())
}

/// The content in a file without a name yet, beside `path`.
fn written(path: &Path, content: &[u8], mode: u32) -> Result<tempfile::NamedTempFile, Error> {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let failed = |error: std::io::Error| file(path, &error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut new = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(failed)?;
    new.write_all(content)
        .and_then(|()| new.as_file().sync_all())
        .map_err(failed)?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct World {
        _folder: tempfile::TempDir,
        places: Places,
    }

    fn world(project: &str, user: &str, system: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let places = Places {
            folder: root.join("repo/deep/down"),
            user_file: root.join("user/config.toml"),
            system_file: root.join("etc/config.toml"),
        };
        for path in [&places.folder, &root.join("user"), &root.join("etc")] {
            fs::create_dir_all(path).unwrap();
        }
        for (path, text) in [
            (root.join("repo/.symbolon.toml"), project),
            (places.user_file.clone(), user),
            (places.system_file.clone(), system),
        ] {
            if !text.is_empty() {
                fs::write(path, text).unwrap();
            }
        }
        World {
            _folder: folder,
            places,
        }
    }

    fn resolve(world: &World, global: Global) -> Settings {
        Settings::resolve(global, &world.places).unwrap()
    }

    #[test]
    fn each_layer_gives_way_to_the_one_above() {
        let timeout = |seconds: u64| format!("timeout = \"{seconds}s\"\n");
        let all = world(&timeout(2), &timeout(3), &timeout(4));
        let flag = Global {
            timeout: Some(Duration::from_secs(1)),
            ..Global::default()
        };
        assert_eq!(resolve(&all, flag).timeout, Duration::from_secs(1));
        assert_eq!(resolve(&all, Global::default()).timeout, Duration::from_secs(2));
        assert_eq!(
            resolve(&world("", &timeout(3), &timeout(4)), Global::default()).timeout,
            Duration::from_secs(3)
        );
        assert_eq!(
            resolve(&world("", "", &timeout(4)), Global::default()).timeout,
            Duration::from_secs(4)
        );
        assert_eq!(resolve(&world("", "", ""), Global::default()).timeout, TIMEOUT);
    }

    #[test]
    fn a_context_gives_what_flags_leave_open_and_its_identity_lies_beside_its_file() {
        let world = world(
            "context = \"work\"",
            "context = \"dev\"\n[contexts.dev]\nendpoint = \"a\"\n[contexts.work]\nendpoint = \"b\"\nidentity = \"me.identity\"",
            "",
        );
        let settings = resolve(&world, Global::default());
        assert_eq!(settings.context.as_deref(), Some("work"));
        assert_eq!(settings.endpoint.as_deref(), Some("b"));
        assert_eq!(
            settings.identity,
            Some(world.places.user_file.with_file_name("me.identity"))
        );
        let settings = resolve(
            &world,
            Global {
                endpoint: Some("c".into()),
                ..Global::default()
            },
        );
        assert_eq!(settings.endpoint.as_deref(), Some("c"));
        assert!(settings.identity.is_some());
    }

    #[test]
    fn a_project_file_cannot_say_where_values_go() {
        let world = world("[contexts.evil]\nendpoint = \"symbolon://evil\"", "", "");
        let error = Settings::resolve(Global::default(), &world.places)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(".symbolon.toml") && error.contains("may only set"),
            "{error}"
        );
    }

    #[test]
    fn a_context_that_is_not_defined_is_named_with_those_that_are() {
        let world = world("", "[contexts.dev]\nendpoint = \"a\"", "");
        let global = Global {
            context: Some("prod".into()),
            ..Global::default()
        };
        let error = Settings::resolve(global, &world.places).unwrap_err().to_string();
        assert!(error.contains("'prod'") && error.contains("defined are dev"), "{error}");
    }

    #[test]
    fn a_bad_file_is_named_with_its_line() {
        let world = world("", "output = \"json\"\nunknown = 1\n", "");
        let error = Settings::resolve(Global::default(), &world.places)
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 2") && error.contains("config.toml"), "{error}");
    }

    #[test]
    fn a_named_configuration_file_must_exist() {
        let world = world("", "", "");
        let global = Global {
            config: Some("/nowhere/config.toml".into()),
            ..Global::default()
        };
        assert!(Settings::resolve(global, &world.places).is_err());
    }

    #[test]
    fn a_written_context_is_chosen_only_if_none_was_and_keeps_comments() {
        let empty = world("", "", "");
        let written = write_context(&empty.places.user_file, "dev", "e", Path::new("/i")).unwrap();
        assert_eq!((written.chosen, written.displaced), (true, None));
        let settings = resolve(&empty, Global::default());
        assert_eq!(
            (settings.endpoint.as_deref(), settings.identity),
            (Some("e"), Some("/i".into()))
        );

        let other = world(
            "",
            "# mine\ncontext = \"prod\"\n[contexts.prod]\nendpoint = \"p\"\n",
            "",
        );
        let written = write_context(&other.places.user_file, "dev", "e", Path::new("/i")).unwrap();
        assert!(!written.chosen);
        let text = fs::read_to_string(&other.places.user_file).unwrap();
        assert!(
            text.starts_with("# mine\ncontext = \"prod\"") && text.contains("[contexts.dev]"),
            "{text}"
        );
        assert_eq!(resolve(&other, Global::default()).endpoint.as_deref(), Some("p"));
    }

    #[test]
    fn a_context_that_leads_elsewhere_from_now_on_tells_where_it_led() {
        let world = world("", "", "");
        let file = &world.places.user_file;
        let cluster = world.places.folder.join("one");
        fs::create_dir_all(&cluster).unwrap();
        fs::write(Paths::new(&cluster).description(), "").unwrap();
        let one = Paths::new(&cluster).identity("op-1");
        let displaced =
            |endpoint: &str, identity: &Path| write_context(file, "dev", endpoint, identity).unwrap().displaced;
        assert_eq!(displaced("a", &one), None);
        assert_eq!(resolve(&world, Global::default()).dev_folder.as_ref(), Some(&cluster));
        assert_eq!(displaced("a2", &one), None, "made anew in its folder");
        assert_eq!(displaced("b", Path::new("/two")), Some(Displaced::DevFolder(cluster)));
        assert_eq!(
            displaced("c", Path::new("/three")),
            Some(Displaced::Endpoint("b".into()))
        );
        let flag = Global {
            endpoint: Some("d".into()),
            ..Global::default()
        };
        assert_eq!(resolve(&world, flag).dev_folder, None);
    }
}
