//! The command `symbolon` (edge.md, "Command line").
//!
//! Data to stdout, everything else to stderr. Secrets never on the command line, and never on a terminal unless asked
//! for. A setting comes from its flag, else from `SYMBOLON_*`, the project file, the user file, the system file, or its
//! default. Errors say what, why and what next, each with a stable code that also gives the exit code.
//!
//! One verb is one module under `verbs`; each gets [`settings::Settings`] and returns the exit code.
#![forbid(unsafe_code)]

mod agree;
mod args;
mod catalogue;
mod failure;
mod genesis;
mod habits;
mod limits;
mod mask;
mod output;
mod progress;
mod session;
mod settings;
mod times;
mod values;
mod verbs;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use symbolon_wire::codes::Exit;

use crate::args::Arguments;
use crate::failure::{Error, from_clap, local};
use crate::settings::{Places, Settings};

/// Runs the command with these arguments, the program's name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = arguments.into_iter().collect();
    let arguments = match Arguments::try_parse_from(&words) {
        Ok(arguments) => arguments,
        Err(error) => return from_clap(&error, &words),
    };
    match run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            failure::show(&error);
            ExitCode::from(error.code.exit() as u8)
        }
    }
}

fn run(arguments: Arguments) -> Result<u8, Error> {
    // This process holds values in the clear: if it crashes, they must not land in a file.
    let no_core = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
    no_core.map_err(|error| local(format!("core dumps could not be switched off: {error}")))?;
    if let Some(code) = verbs::offline(&arguments.verb, &arguments.global)? {
        return Ok(code);
    }
    let settings = Settings::resolve(arguments.global, &Places::of_this_process()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| local(format!("the runtime could not start: {error}")))?;
    let done = runtime.block_on(verbs::run(arguments.verb, settings));
    // A name that is still being resolved must not hold back what is known already.
    runtime.shutdown_background();
    done
}

/// What a verb returns when all went well.
pub(crate) const DONE: u8 = Exit::Ok as u8;
