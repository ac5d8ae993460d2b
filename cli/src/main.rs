//! The command `symbolon`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    symbolon_cli::main(std::env::args_os())
}
