//! Compiles the shims: shared libraries that are put between a process and its
//! disk or its clock, and between a node and its token.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::Command;

fn main() -> Result<(), String> {
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    for shim in ["clock", "disk", "token"] {
        let source = format!("shims/{shim}.c");
        println!("cargo::rerun-if-changed={source}");
        let library = PathBuf::from(&out).join(format!("{shim}.so"));
        let compiled = Command::new("clang")
            .args([
                "-std=gnu17",
                "-O2",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-shared",
                "-fPIC",
                "-o",
            ])
            .arg(&library)
            .arg(&source)
            .args(["-ldl", "-lpthread"])
            .status()
            .map_err(|error| format!("clang cannot be run: {error}; install it with scripts/setup"))?;
        if !compiled.success() {
            return Err(format!("{source} does not compile"));
        }
        println!(
            "cargo::rustc-env=SYMBOLON_SHIM_{}={}",
            shim.to_uppercase(),
            library.display()
        );
    }
    Ok(())
}
