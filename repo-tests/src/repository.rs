//! This repository, as git and cargo see it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
    string::FromUtf8Error,
};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, Package, PackageId, TargetKind};
use thiserror::Error;

use crate::arrows::Edge;

/// The platform whose dependencies are looked at (Linux first): others' need not even have been downloaded.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Why the repository can not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// A file can not be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A command can not be started.
    #[error("{command} can not be started: {source}")]
    Start {
        /// Which.
        command: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A command failed.
    #[error("{command} failed: {stderr}")]
    Failed {
        /// Which.
        command: &'static str,
        /// What it said.
        stderr: String,
    },
    /// A command's output is no text.
    #[error("the output of {command} is not UTF-8: {source}")]
    Output {
        /// Which.
        command: &'static str,
        /// Why.
        source: FromUtf8Error,
    },
    /// What cargo knows can not be read.
    #[error("cargo metadata: {0}")]
    Metadata(#[from] cargo_metadata::Error),
    /// Cargo resolved no dependencies.
    #[error("cargo metadata resolved no dependencies")]
    NoResolve,
}

/// The repository.
#[derive(Debug)]
pub struct Repository {
    root: PathBuf,
    metadata: Metadata,
}

impl Repository {
    /// The repository that this crate is part of.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open() -> Result<Self, ReadError> {
        // Cargo says at run time where the crate is. What the compiler was told may be another checkout, where two of
        // them share a build directory.
        let here = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = here.parent().unwrap_or(&here).to_owned();
        let metadata = MetadataCommand::new()
            .current_dir(&root)
            .features(CargoOpt::AllFeatures)
            .other_options(["--filter-platform".to_owned(), PLATFORM.to_owned()])
            .exec()?;
        Ok(Self { root, metadata })
    }

    /// Every file that is committed or about to be, relative to the root.
    ///
    /// # Errors
    /// [`ReadError`], if git fails.
    pub fn files(&self) -> Result<Vec<String>, ReadError> {
        let listed = self.run("git", &["ls-files", "--cached", "--others", "--exclude-standard"])?;
        let exists = |file: &&str| self.root.join(file).is_file();
        Ok(listed.lines().filter(exists).map(str::to_owned).collect())
    }

    /// The text of a file; none if it is no UTF-8.
    ///
    /// # Errors
    /// [`ReadError::File`].
    pub fn text(&self, file: &str) -> Result<Option<String>, ReadError> {
        let path = self.root.join(file);
        let bytes = fs::read(&path).map_err(|source| ReadError::File { path, source })?;
        Ok(String::from_utf8(bytes).ok())
    }

    /// Names of the crates of the workspace.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        self.metadata
            .workspace_packages()
            .iter()
            .map(|package| package.name.to_string())
            .collect()
    }

    /// Manifests of the crates of the workspace, relative to the root.
    #[must_use]
    pub fn manifests(&self) -> Vec<String> {
        let packages = self.metadata.workspace_packages();
        packages
            .iter()
            .map(|package| self.relative(package.manifest_path.as_std_path()))
            .collect()
    }

    /// Root files of the libraries and binaries of the workspace, relative to the root.
    #[must_use]
    pub fn crate_roots(&self) -> Vec<String> {
        let packages = self.metadata.workspace_packages();
        let targets = packages.iter().flat_map(|package| &package.targets);
        let linked = targets.filter(|target| target.is_kind(TargetKind::Lib) || target.is_kind(TargetKind::Bin));
        linked
            .map(|target| self.relative(target.src_path.as_std_path()))
            .collect()
    }

    /// Every package that may be built, ours among them: its name and the licence that it states.
    #[must_use]
    pub fn licences(&self) -> Vec<(String, Option<String>)> {
        let licence = |package: &Package| (package.name.to_string(), package.license.clone());
        self.metadata.packages.iter().map(licence).collect()
    }

    /// Every dependency that is linked or runs in a build, between all packages; not those of tests.
    ///
    /// # Errors
    /// [`ReadError::NoResolve`].
    pub fn edges(&self) -> Result<Vec<Edge>, ReadError> {
        let resolve = self.metadata.resolve.as_ref().ok_or(ReadError::NoResolve)?;
        let name = |id: &PackageId| {
            self.metadata
                .packages
                .iter()
                .find(|package| package.id == *id)
                .map(|found| found.name.to_string())
        };
        let mut edges = Vec::new();
        for node in &resolve.nodes {
            for dependency in &node.deps {
                let only_for_tests = dependency
                    .dep_kinds
                    .iter()
                    .all(|kind| kind.kind == DependencyKind::Development);
                if let (false, Some(from), Some(to)) = (only_for_tests, name(&node.id), name(&dependency.pkg)) {
                    edges.push((from, to));
                }
            }
        }
        Ok(edges)
    }

    /// Names of the packages that a build with tests and all features compiles. `cargo tree` knows; `cargo metadata`
    /// also names optional dependencies that nothing switches on.
    ///
    /// # Errors
    /// [`ReadError`], if cargo fails.
    pub fn built(&self) -> Result<Vec<String>, ReadError> {
        let options = [
            "tree",
            "--workspace",
            "--all-features",
            "--target",
            PLATFORM,
            "--prefix",
            "none",
            "--format",
            "{p}",
        ];
        let listed = self.run("cargo", &options)?;
        Ok(listed
            .lines()
            .filter_map(|line| line.split(' ').next())
            .map(str::to_owned)
            .collect())
    }

    /// Names of the packages that are linked into `packages`, built with `features` besides their default ones.
    ///
    /// # Errors
    /// [`ReadError`], if cargo fails.
    pub fn linked(&self, packages: &[&str], features: &[&str]) -> Result<Vec<String>, ReadError> {
        let mut options = vec!["tree", "--edges", "normal,build", "--target", PLATFORM];
        options.extend(["--prefix", "none", "--format", "{p}"]);
        options.extend(packages.iter().flat_map(|package| ["--package", package]));
        options.extend(features.iter().flat_map(|feature| ["--features", feature]));
        let listed = self.run("cargo", &options)?;
        let names = listed.lines().filter_map(|line| line.split(' ').next());
        Ok(names.map(str::to_owned).collect())
    }

    fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    fn run(&self, command: &'static str, options: &[&str]) -> Result<String, ReadError> {
        let output = Command::new(command).args(options).current_dir(&self.root).output();
        let output = output.map_err(|source| ReadError::Start { command, source })?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(ReadError::Failed { command, stderr });
        }
        String::from_utf8(output.stdout).map_err(|source| ReadError::Output { command, source })
    }
}
