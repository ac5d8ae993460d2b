//! What only the software root has: its acknowledgement, its warning and its files.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use symbolon_hsm::{DevelopmentOnly, KeyLabel, Mode, RootError, RootKind, RootOfTrust, SoftwareRoot, probe};
use tempfile::TempDir;

fn open(folder: &Path) -> Result<SoftwareRoot, RootError> {
    SoftwareRoot::open(DevelopmentOnly::acknowledge(Mode::Dev).unwrap(), folder)
}

fn label(text: &str) -> KeyLabel {
    KeyLabel::new(text).unwrap()
}

fn a_root() -> (TempDir, PathBuf, SoftwareRoot) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root");
    let root = open(&path).unwrap();
    (folder, path, root)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn it_is_refused_outside_dev_mode() {
    let refused = DevelopmentOnly::acknowledge(Mode::Production);
    assert!(matches!(refused, Err(RootError::DevelopmentOnly)), "{refused:?}");
}

#[test]
fn it_says_what_it_is_worth() {
    let (_folder, _, root) = a_root();
    assert!(root.kind().warning().unwrap().starts_with("DEVELOPMENT ONLY"));
    assert_eq!(root.info().unwrap().kind, RootKind::Software);
}

#[test]
fn keys_outlive_the_process_in_files_for_the_owner_alone() {
    let (_folder, path, root) = a_root();
    let public = root.generate_identity_key(&label("identity")).unwrap();
    root.generate_wrapping_key(&label("wrapping")).unwrap();
    drop(root);
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("identity.p256.pem")), 0o600);
    assert_eq!(mode(&path.join("wrapping.aes256")), 0o600);
    probe(&open(&path).unwrap(), &label("identity"), &public, &[4; 32]).unwrap();
}

#[test]
fn a_key_file_open_to_others_is_refused() {
    let (_folder, path, root) = a_root();
    root.generate_identity_key(&label("identity")).unwrap();
    fs::set_permissions(path.join("identity.p256.pem"), Permissions::from_mode(0o640)).unwrap();
    let error = root.sign(&label("identity"), b"message").unwrap_err();
    assert!(
        matches!(error, RootError::KeyFileOpenToOthers { mode: 0o640, .. }),
        "{error}"
    );
}

#[test]
fn a_folder_open_to_others_is_refused() {
    let (_folder, path, root) = a_root();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    for error in [
        open(&path).unwrap_err(),
        root.generate_wrapping_key(&label("wrapping")).unwrap_err(),
    ] {
        assert!(
            matches!(error, RootError::KeyFileOpenToOthers { mode: 0o755, .. }),
            "{error}"
        );
    }
}

#[test]
fn a_damaged_key_file_is_named() {
    let (_folder, path, root) = a_root();
    root.generate_identity_key(&label("identity")).unwrap();
    root.generate_wrapping_key(&label("wrapping")).unwrap();
    let (pem, raw) = (path.join("identity.p256.pem"), path.join("wrapping.aes256"));
    for damage in [
        &b""[..],
        b"-----BEGIN PRIVATE KEY-----",
        &[0xff; 31],
        &[0xff; 33],
        &[0xff; 5000],
    ] {
        fs::write(&pem, damage).unwrap();
        fs::write(&raw, damage).unwrap();
        let signed = root.sign(&label("identity"), b"message").unwrap_err();
        assert!(
            matches!(&signed, RootError::KeyFileDamaged { path } if path.ends_with("identity.p256.pem")),
            "{signed}"
        );
        let unwrapped = root.unwrap(&label("wrapping"), &[0; 40]).unwrap_err();
        assert!(
            matches!(&unwrapped, RootError::KeyFileDamaged { path } if path.ends_with("wrapping.aes256")),
            "{unwrapped}"
        );
    }
}
