//! What tests on a real SoftHSM need: each its own process, because SoftHSM reads its configuration once per process,
//! and each its own folder of tokens, so that a test may take the whole folder away.
//!
//! Without SoftHSM these tests fail and say how to install it; they are never skipped.
#![forbid(unsafe_code)]
#![expect(clippy::expect_used, clippy::panic, reason = "only tests use this crate")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use symbolon_hsm::{Pin, Pkcs11Root, RootError, RootInfo, TokenSelector, init_token, softhsm};

/// The user PIN of every test token.
pub const PIN: &str = "user-pin-3141592653";

/// The security officer's PIN of every test token.
pub const SO_PIN: &str = "officer-pin-2718281828";

/// Tells the child process where its tokens are.
const FOLDER_VARIABLE: &str = "SYMBOLON_SOFTHSM_TEST_FOLDER";

/// A PIN.
#[must_use]
pub fn pin(text: &str) -> Pin {
    Pin::new(text.to_owned())
}

/// A SoftHSM of its own, for one test in one process.
#[derive(Debug)]
pub struct SoftHsm {
    folder: PathBuf,
    module: PathBuf,
}

impl SoftHsm {
    /// Where the module lies.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// The folder that holds the tokens, each a folder of its own.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
    }

    /// A place beside the tokens that SoftHSM does not know of.
    #[must_use]
    pub fn elsewhere(&self) -> PathBuf {
        self.folder.join("elsewhere")
    }

    /// Makes a token with the usual PINs.
    #[must_use]
    pub fn token(&self, label: &str) -> RootInfo {
        init_token(&self.module, label, &pin(SO_PIN), &pin(PIN)).expect("a new token")
    }

    /// Opens a token by its label with the usual PIN.
    ///
    /// # Errors
    /// Those of [`Pkcs11Root::open`].
    pub fn open(&self, label: &str) -> Result<Pkcs11Root, RootError> {
        Pkcs11Root::open(&self.module, &TokenSelector::Label(label.to_owned()), pin(PIN))
    }

    /// Makes a token and opens it.
    #[must_use]
    pub fn root(&self, label: &str) -> Pkcs11Root {
        let _ = self.token(label);
        self.open(label).expect("an open token")
    }

    /// Every file of every token.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let entries = |folder: &Path| -> Vec<PathBuf> {
            let listed = fs::read_dir(folder).expect("a folder of tokens");
            listed.map(|entry| entry.expect("an entry").path()).collect()
        };
        entries(&self.tokens())
            .iter()
            .flat_map(|token| entries(token))
            .collect()
    }
}

/// Runs `body` in a process of its own. `test` is the name of the test that calls this: that very test is started again,
/// alone, with a new folder of tokens in its environment.
pub fn in_own_process(test: &str, body: impl FnOnce(&SoftHsm)) {
    let module = softhsm::module().unwrap_or_else(|missing| panic!("{missing}"));
    if let Some(folder) = env::var_os(FOLDER_VARIABLE) {
        return body(&SoftHsm {
            folder: folder.into(),
            module,
        });
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tokens = folder.path().join("tokens");
    let configuration = folder.path().join("softhsm2.conf");
    fs::create_dir(&tokens).expect("a folder for tokens");
    fs::write(&configuration, softhsm::configuration(&tokens)).expect("a configuration");
    let child = Command::new(env::current_exe().expect("the path of this test"))
        .args([test, "--exact", "--nocapture"])
        .env(softhsm::CONFIGURATION_VARIABLE, &configuration)
        .env(FOLDER_VARIABLE, folder.path())
        .output()
        .expect("a child process");
    let output = [child.stdout, child.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .join("\n");
    // A misspelt name would run no test and succeed.
    assert!(
        output.contains("running 1 test"),
        "{test} is not the name of a test:\n{output}"
    );
    assert!(
        child.status.success(),
        "{test} failed in its own process ({}):\n{output}",
        child.status
    );
}
