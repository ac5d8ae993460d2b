//! The node's configuration: one TOML file, every setting checked before anything starts. `deploy/node.toml` is the
//! reference.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use symbolon_consensus::limits::MARK_ENTRIES_MAX;

/// Largest configuration file, bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why a configuration is refused. Each says where and what to write instead.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// Larger than any configuration.
    #[error("{} has more than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not TOML, an unknown or missing setting, or one of the wrong type. The message shows the line.
    #[error("{}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// With line and column.
        reason: Box<toml::de::Error>,
    },
    /// It cannot be written down again: a path that is no text.
    #[error("{}: {reason}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: Box<toml::ser::Error>,
    },
    /// A setting whose value makes no sense, or not with another.
    #[error("{}: {setting}: {what}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// Its name.
        setting: &'static str,
        /// What is wrong, and what to write.
        what: &'static str,
    },
}

/// Everything that one node is told.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// This node's index in the roster, from 1.
    pub(crate) node: u16,
    /// Its data: the database and the wrapped keys. Nothing else may be kept there.
    pub(crate) data: PathBuf,
    /// Where it listens (UDP).
    pub(crate) listen: SocketAddr,
    /// What the roster says of it: where others reach it.
    pub(crate) address: Option<String>,
    /// Where it stands; no region may hold t nodes.
    pub(crate) region: String,
    /// The signed genesis roster; absent only until the cluster's birth.
    pub(crate) genesis: Option<PathBuf>,
    /// When a release may go out.
    #[serde(default)]
    pub(crate) audit: AuditMode,
    /// Where old audit entries go; without it all stay in the database.
    pub(crate) archive: Option<ArchiveConfig>,
    /// Its root of trust.
    pub(crate) token: TokenConfig,
    /// Health and metrics.
    pub(crate) http: Option<HttpConfig>,
    /// Logs.
    #[serde(default)]
    pub(crate) log: LogConfig,
    /// Runtime threads.
    #[serde(default = "default_threads")]
    pub(crate) threads: usize,
    /// Entries between two snapshots.
    #[serde(default = "default_snapshot_entries")]
    pub(crate) snapshot_entries: u64,
    /// MiB of log entries between two snapshots, whichever comes first. About so much of the log is kept behind one.
    #[serde(default = "default_snapshot_mib")]
    pub(crate) snapshot_mib: u64,
    /// A development node: software token allowed, core dumps allowed, memory not locked.
    #[serde(default)]
    pub(crate) development: bool,
}

fn default_threads() -> usize {
    2
}

fn default_snapshot_entries() -> u64 {
    100_000
}

fn default_snapshot_mib() -> u64 {
    256
}

/// When a release may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AuditMode {
    /// After its audit record is synced.
    #[default]
    Durable,
    /// Once its audit record is written; a power failure may lose the last records.
    Buffered,
}

/// Where old audit entries go.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArchiveConfig {
    /// The folder; its files may be moved away, and back.
    pub(crate) folder: PathBuf,
    /// How long entries stay in the database.
    pub(crate) keep: Keep,
}

/// A time in whole seconds, minutes, hours or days: `90d`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Keep {
    text: String,
    time: Duration,
}

impl TryFrom<String> for Keep {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let seconds = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            _ => 0,
        };
        let count = text
            .get(..text.len().saturating_sub(1))
            .and_then(|count| count.parse::<u32>().ok());
        match count.filter(|count| *count > 0 && seconds > 0) {
            Some(count) => Ok(Self {
                time: Duration::from_secs(u64::from(count) * seconds),
                text,
            }),
            None => Err("a time is a number with s, m, h or d, as 90d"),
        }
    }
}

impl From<Keep> for String {
    fn from(keep: Keep) -> Self {
        keep.text
    }
}

impl Keep {
    /// How long.
    pub(crate) fn time(&self) -> Duration {
        self.time
    }
}

/// The root of trust.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "lowercase")]
pub(crate) enum TokenConfig {
    /// A PKCS#11 token.
    Pkcs11 {
        /// The module.
        module: PathBuf,
        /// The token's label.
        label: String,
        /// A file that holds the PIN; keep it on other media than `data`.
        pin_file: Option<PathBuf>,
        /// The name of a systemd credential that holds it.
        pin_credential: Option<String>,
    },
    /// Key files, for development.
    Software {
        /// The folder.
        folder: PathBuf,
    },
}

/// Health and metrics.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpConfig {
    /// Where it listens (TCP). Nothing secret is served.
    pub(crate) listen: SocketAddr,
}

/// Logs, always to standard error.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogConfig {
    /// `text` or `json`.
    #[serde(default)]
    pub(crate) format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    #[serde(default = "default_level")]
    pub(crate) level: LogLevel,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: default_level(),
        }
    }
}

fn default_level() -> LogLevel {
    LogLevel::Info
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Config {
    /// [`Config::snapshot_mib`] in bytes.
    pub(crate) fn snapshot_bytes(&self) -> u64 {
        self.snapshot_mib << 20
    }

    /// Reads and checks a file. Relative paths are taken from the file's folder.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::read_with_text(path).map(|(config, _)| config)
    }

    /// Reads and checks a file, and says what is in force as a file would: every setting, defaults marked.
    pub(crate) fn in_force(path: &Path) -> Result<String, ConfigError> {
        Self::in_force_of(path, &Self::read_with_text(path)?.1)
    }

    /// The same for a text, as if it stood in the file `path`.
    pub(crate) fn in_force_of(path: &Path, text: &str) -> Result<String, ConfigError> {
        let config = Self::parse(path, text)?;
        let syntax = |reason| ConfigError::Syntax {
            path: path.to_owned(),
            reason: Box::new(reason),
        };
        let given: toml::Table = toml::from_str(text).map_err(syntax)?;
        config.described(&given).map_err(|reason| ConfigError::Unwritable {
            path: path.to_owned(),
            reason: Box::new(reason),
        })
    }

    fn described(&self, given: &toml::Table) -> Result<String, toml::ser::Error> {
        let mut table = toml::Table::try_from(self)?;
        table.entry("address").or_insert_with(|| self.advertised().into());
        let nothing = toml::Table::new();
        let (mut plain, mut nested) = (String::new(), String::new());
        for (name, value) in &table {
            let toml::Value::Table(inner) = value else {
                plain.push_str(&line(name, value, given));
                continue;
            };
            nested.push_str(&format!("\n[{name}]\n"));
            let given = given.get(name).and_then(toml::Value::as_table).unwrap_or(&nothing);
            nested.extend(inner.iter().map(|(name, value)| line(name, value, given)));
        }
        Ok(plain + &nested)
    }

    fn read_with_text(path: &Path) -> Result<(Self, String), ConfigError> {
        let unreadable = |reason| ConfigError::Unreadable {
            path: path.to_owned(),
            reason,
        };
        if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
            return Err(ConfigError::TooLarge { path: path.to_owned() });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Ok((Self::parse(path, &text)?, text))
    }

    /// Checks the text of the file `path`.
    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|reason| ConfigError::Syntax {
            path: path.to_owned(),
            reason: Box::new(reason),
        })?;
        config.resolve(path.parent().unwrap_or(Path::new(".")));
        match config.check() {
            Some((setting, what)) => Err(ConfigError::Setting {
                path: path.to_owned(),
                setting,
                what,
            }),
            None => Ok(config),
        }
    }

    fn resolve(&mut self, folder: &Path) {
        let base = |path: &mut PathBuf| *path = folder.join(&*path);
        base(&mut self.data);
        self.genesis.as_mut().map(base);
        self.archive.as_mut().map(|archive| &mut archive.folder).map(base);
        match &mut self.token {
            TokenConfig::Pkcs11 { pin_file, .. } => {
                pin_file.as_mut().map(base);
            }
            TokenConfig::Software { folder } => base(folder),
        }
    }

    /// What a start on this machine would stumble over: files that are not there, and a PIN that others may read.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut look = |setting: &str, path: &Path| match std::fs::metadata(path) {
            Ok(found) => Some(found),
            Err(reason) => {
                warnings.push(format!("{setting} = {}: {reason}", path.display()));
                None
            }
        };
        if let Some(genesis) = &self.genesis {
            look("genesis", genesis);
        }
        match &self.token {
            TokenConfig::Pkcs11 { module, pin_file, .. } => {
                look("token.module", module);
                let pin = pin_file
                    .as_ref()
                    .and_then(|file| Some((file, look("token.pin_file", file)?)));
                if let Some((file, found)) = pin
                    && found.mode() & 0o077 != 0
                {
                    let mode = found.mode() & 0o777;
                    warnings.push(format!(
                        "token.pin_file = {}: others may read it (mode {mode:o}); chmod 600",
                        file.display()
                    ));
                }
            }
            TokenConfig::Software { folder } => {
                look("token.folder", folder);
            }
        }
        warnings
    }

    fn check(&self) -> Option<(&'static str, &'static str)> {
        if self.node == 0 {
            return Some(("node", "indices start at 1"));
        }
        if self.region.is_empty() || self.region.len() > symbolon_wire::limits::TEXT_BYTES_MAX {
            return Some(("region", "name where this node stands, in 1 to 256 bytes"));
        }
        if self.threads == 0 || self.threads > 256 {
            return Some(("threads", "between 1 and 256"));
        }
        let entries_min = if self.development { 50 } else { 1_000 };
        if !(entries_min..=MARK_ENTRIES_MAX).contains(&self.snapshot_entries) {
            return Some((
                "snapshot_entries",
                "between 1000 and 100000, or from 50 with `development = true`: each snapshot reads all records, \
                 and beyond two of them others can no longer tell what a node's log was",
            ));
        }
        let mib_min = if self.development { 1 } else { 16 };
        if !(mib_min..=16_384).contains(&self.snapshot_mib) {
            return Some((
                "snapshot_mib",
                "between 16 and 16384, or from 1 with `development = true`: each snapshot reads all records",
            ));
        }
        if self
            .archive
            .as_ref()
            .is_some_and(|archive| archive.folder.starts_with(&self.data))
        {
            return Some((
                "archive.folder",
                "a folder outside `data`: nothing else may be kept there",
            ));
        }
        match &self.token {
            TokenConfig::Software { .. } if !self.development => Some((
                "token.kind",
                "a software token is for development; set `development = true` or use pkcs11",
            )),
            TokenConfig::Pkcs11 {
                pin_file: None,
                pin_credential: None,
                ..
            } => Some(("token", "set `pin_file` or `pin_credential`")),
            TokenConfig::Pkcs11 {
                pin_file: Some(_),
                pin_credential: Some(_),
                ..
            } => Some(("token", "set `pin_file` or `pin_credential`, not both")),
            TokenConfig::Pkcs11 {
                pin_file: Some(pin), ..
            } if pin.starts_with(&self.data) => Some((
                "token.pin_file",
                "the PIN must not lie beside the data that it protects",
            )),
            _ => None,
        }
    }

    /// Where others reach this node.
    pub(crate) fn advertised(&self) -> String {
        self.address.clone().unwrap_or_else(|| self.listen.to_string())
    }
}

/// `name = value`, marked if the file leaves it open.
fn line(name: &str, value: &toml::Value, given: &toml::Table) -> String {
    let mark = if given.contains_key(name) { "" } else { "   # default" };
    format!("{name} = {value}{mark}\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_in_force_is_shown_as_a_file_with_its_defaults_marked() {
        let text = "node = 1\ndata = \"/data\"\nlisten = \"127.0.0.1:7601\"\nregion = \"north\"\naudit = \"durable\"\n\
                    development = true\n[token]\nkind = \"software\"\nfolder = \"/keys\"\n";
        let described = |text: &str| {
            let config: Config = toml::from_str(text).unwrap();
            config.described(&toml::from_str(text).unwrap()).unwrap()
        };
        let shown = described(text);
        for expected in [
            "data = \"/data\"\n",
            "address = \"127.0.0.1:7601\"   # default\n",
            "audit = \"durable\"\n",
            "threads = 2   # default\n",
            "\n[log]\nformat = \"text\"   # default\nlevel = \"info\"   # default\n",
            "\n[token]\nfolder = \"/keys\"\nkind = \"software\"\n",
        ] {
            assert!(shown.contains(expected), "{expected} is not in\n{shown}");
        }
        let again = described(&shown);
        assert_eq!(
            again,
            shown.replace("   # default", ""),
            "what is shown is a file itself"
        );
    }

    #[test]
    fn files_that_are_not_there_and_a_pin_that_others_may_read_are_told_before_a_start() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let pin = folder.path().join("pin");
        std::fs::write(&pin, "1234").unwrap();
        std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(0o644)).unwrap();
        let text = format!(
            "node = 1\ndata = \"/data\"\nlisten = \"127.0.0.1:7601\"\nregion = \"north\"\ngenesis = \"/nowhere/g\"\n\
             [token]\nkind = \"pkcs11\"\nmodule = \"/nowhere/m\"\nlabel = \"x\"\npin_file = \"{}\"\n",
            pin.display()
        );
        let config: Config = toml::from_str(&text).unwrap();
        let told = config.missing();
        for (warning, about) in told.iter().zip(["/nowhere/g", "/nowhere/m", "mode 644"]) {
            assert!(warning.contains(about), "{told:?}");
        }
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn the_reference_names_every_setting() {
        // Settings that it shows as comments stand for themselves here.
        let shown = |line: &&str| {
            let name = line.split_once(" = ").map(|(name, _)| name);
            line.starts_with('[')
                || name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        };
        let text: Vec<&str> = include_str!("../../deploy/node.toml")
            .lines()
            .map(|line| line.strip_prefix("# ").filter(shown).unwrap_or(line))
            .collect();
        let reference: toml::Table = text.join("\n").parse().unwrap();
        for section in [None, Some("archive"), Some("token"), Some("http"), Some("log")] {
            let mut unknown = reference.clone();
            let within = |table: &mut toml::Table| table.insert("nonsense".to_owned(), true.into());
            match section {
                None => within(&mut unknown),
                Some(name) => within(unknown[name].as_table_mut().unwrap()),
            };
            // What is refused is told with all that there is.
            let told = Config::deserialize(unknown).unwrap_err().message().to_owned();
            let (_, names) = told.split_once(", expected ").unwrap();
            let there = match section {
                None => &reference,
                Some(name) => reference[name].as_table().unwrap(),
            };
            let mut found = 0;
            for name in names.split('`').skip(1).step_by(2) {
                assert!(
                    there.contains_key(name),
                    "{name} of {section:?} is not in deploy/node.toml"
                );
                found += 1;
            }
            assert!(found > 0, "{told}");
        }
    }

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        for (text, seconds) in [("1s", 1), ("30m", 1_800), ("12h", 43_200), ("90d", 7_776_000)] {
            let keep = Keep::try_from(text.to_owned()).unwrap();
            assert_eq!(keep.time(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "d", "90", "0d", "1.5h", "-1d", "90 d", "1w", "99999999999d", "1é"] {
            assert!(Keep::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn snapshots_come_neither_so_often_that_they_are_all_work_nor_so_rarely_that_no_node_can_be_compared() {
        let parse = |entries: u64, development: bool| {
            let text = format!(
                "node = 1\ndata = \"data\"\nlisten = \"127.0.0.1:7601\"\nregion = \"north\"\ndevelopment = {development}\n\
                 snapshot_entries = {entries}\n[token]\nkind = \"pkcs11\"\nmodule = \"m\"\nlabel = \"x\"\npin_file = \"p\"\n"
            );
            Config::parse(Path::new("/etc/symbolon/node.toml"), &text).map_err(|refused| refused.to_string())
        };
        for (entries, development) in [(1_000, false), (100_000, false), (50, true), (100_000, true)] {
            assert!(
                parse(entries, development).is_ok(),
                "{entries}: {:?}",
                parse(entries, development).err()
            );
        }
        for (entries, development) in [(999, false), (100_001, false), (49, true), (100_001, true)] {
            let refused = parse(entries, development).unwrap_err();
            assert!(
                refused.contains("snapshot_entries") && refused.contains("between"),
                "{refused}"
            );
        }
    }

    #[test]
    fn the_archive_lies_outside_the_data_and_beside_the_file_that_names_it() {
        let text = |folder: &str| {
            format!(
                "node = 1\ndata = \"data\"\nlisten = \"127.0.0.1:7601\"\nregion = \"north\"\ndevelopment = true\n\
                 [token]\nkind = \"software\"\nfolder = \"/keys\"\n[archive]\nfolder = \"{folder}\"\nkeep = \"90d\"\n"
            )
        };
        let path = Path::new("/etc/symbolon/node.toml");
        let config = Config::parse(path, &text("archive")).unwrap();
        assert_eq!(config.archive.unwrap().folder, Path::new("/etc/symbolon/archive"));
        let refused = Config::parse(path, &text("data/archive")).unwrap_err();
        assert!(refused.to_string().contains("archive.folder"), "{refused}");
    }
}
