//! Before something is signed: whoever signs has seen what it says.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::failure::{Error, local, usage};
use crate::settings::Settings;

/// What is about to be signed.
pub(crate) struct Signing {
    /// Its hash, in hex.
    pub(crate) hash: String,
    /// What that hash is of: "the command of that body hash".
    pub(crate) what: &'static str,
    /// How to look at it.
    pub(crate) look: String,
    /// How to sign it by its hash.
    pub(crate) named: String,
}

/// Refuses unless it was named by its hash, as who has looked at it does, or is shown now and agreed to on a terminal.
pub(crate) fn agreed(
    signing: &Signing,
    named: Option<&str>,
    settings: &Settings,
    show: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    if let Some(named) = named {
        if named.eq_ignore_ascii_case(&signing.hash) {
            return Ok(());
        }
        let told = format!("nothing was signed: the file does not hold {}", signing.what);
        return Err(usage(told)
            .because(format!("it is {}", signing.hash))
            .next(signing.look.clone()));
    }
    let (input, mut output) = (std::io::stdin(), std::io::stderr());
    // Whoever sees one field of it, or nothing, has not seen it.
    if !input.is_terminal() || !std::io::stdout().is_terminal() || settings.output.field.is_some() {
        let told = "nothing was signed: nobody is there to be shown all of it and asked";
        return Err(usage(told).next(format!("{}, then {}", signing.look, signing.named)));
    }
    show()?;
    let mut answer = String::new();
    write!(output, "\nSign this? Type yes to agree: ")
        .and_then(|()| output.flush())
        .and_then(|()| input.lock().read_line(&mut answer))
        .map_err(|error| local(format!("the terminal cannot be read: {error}")))?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(usage("nothing was signed").next(signing.look.clone())),
    }
}
