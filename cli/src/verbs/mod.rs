//! The verbs, one module each.

pub(crate) mod agent;
pub(crate) mod audit;
mod batch;
pub(crate) mod command;
pub(crate) mod demo;
pub(crate) mod dev;
pub(crate) mod docs;
pub(crate) mod doctor;
pub(crate) mod history;
pub(crate) mod identity;
pub(crate) mod init;
pub(crate) mod metadata;
pub(crate) mod policy;
pub(crate) mod prove;
pub(crate) mod run;
pub(crate) mod secrets;
pub(crate) mod status;
pub(crate) mod versions;
pub(crate) mod watch;

use crate::args::Verb;
use std::path::Path;

use symbolon_wire::Code;

use crate::catalogue::advice;
use crate::failure::{Error, local};
use crate::session;
use crate::settings::{Global, Settings};

/// Verbs that need neither settings nor cluster, so that a broken configuration file cannot stop them.
pub(crate) fn offline(verb: &Verb, global: &Global) -> Result<Option<u8>, Error> {
    match verb {
        Verb::Explain(explain) => docs::explain(explain, &global.output()).map(Some),
        Verb::Completions(completions) => docs::completions(completions).map(Some),
        Verb::Man(man) => docs::man(man).map(Some),
        _ => Ok(None),
    }
}

/// All others.
pub(crate) async fn run(verb: Verb, settings: Settings) -> Result<u8, Error> {
    let done = online(verb, &settings).await;
    done.map_err(|error| advised(stranger(command::keep_unknown(error, &settings), &settings)))
}

/// What nobody on the way has a next step for gets that of its code.
fn advised(error: Error) -> Error {
    match error.code {
        // Their messages are all that there is to say.
        Code::Local | Code::Usage => error,
        _ if error.next.is_some() => error,
        code => error.next(advice(code)),
    }
}

/// A node says little to a key that it does not know; what may have happened is told here.
pub(crate) fn stranger(error: Error, settings: &Settings) -> Error {
    if error.code != Code::UnknownKey {
        return error;
    }
    let error = match session::identity(settings) {
        Ok(identity) => {
            let file = settings.identity.as_deref().unwrap_or_else(|| Path::new("?"));
            error.because(format!(
                "the identity in use is {}, from {}",
                identity.name(),
                file.display()
            ))
        }
        Err(_) => error,
    };
    error.next(
        "never registered: an operator runs symbolon agent register FILE.pub\n\
         expired, removed or rekeyed: symbolon identity new, and have that registered; ids and keys do not come back\n\
         another cluster or file was meant: --context NAME, --identity FILE; symbolon agent list shows who is known",
    )
}

async fn online(verb: Verb, settings: &Settings) -> Result<u8, Error> {
    match verb {
        Verb::Dev(dev) => dev::dev(&dev, settings).await,
        Verb::Demo(demo) => demo::demo(&demo).await,
        Verb::Init(init) => init::init(init, settings),
        Verb::Operator(operator) => identity::operator(operator, settings),
        Verb::Identity(verb) => identity::identity(verb, settings),
        Verb::Put(put) => secrets::put(&put, settings).await,
        Verb::Get(get) => secrets::get(&get, settings).await,
        Verb::List(list) => secrets::list(&list, settings).await,
        Verb::Delete(delete) => versions::delete(&delete, settings).await,
        Verb::Undelete(undelete) => versions::undelete(&undelete, settings).await,
        Verb::Destroy(destroy) => versions::destroy(&destroy, settings).await,
        Verb::History(history) => history::history(&history, settings).await,
        Verb::Watch(watch) => watch::watch(&watch, settings).await,
        Verb::Metadata(metadata) => metadata::metadata(&metadata, settings).await,
        Verb::Policy(policy) => policy::policy(&policy, settings).await,
        Verb::Agent(agent) => agent::agent(&agent, settings).await,
        Verb::Run(run) => run::run(&run, settings).await,
        Verb::Status(status) => status::status(&status, settings).await,
        Verb::Audit(audit) => audit::audit(&audit, settings).await,
        Verb::Doctor(_) => doctor::doctor(settings).await,
        Verb::Command(command) => command::command(&command, settings).await,
        Verb::Explain(_) | Verb::Completions(_) | Verb::Man(_) => {
            Err(local("this verb needs no cluster and was not run"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_without_a_next_step_gets_that_of_its_code() {
        let next = |error: Error| advised(error).next.clone();
        let exists = next(Error::new(Code::Exists, "this principal id exists or has existed"));
        assert!(exists.is_some_and(|next| next.contains("never reused")));
        assert_eq!(
            next(Error::new(Code::Exists, "x").next("mine")).as_deref(),
            Some("mine")
        );
        assert_eq!(next(Error::new(Code::Local, "x")), None);
    }
}
