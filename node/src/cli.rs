//! The command line of `symbolon-node`.

use crate::config::{Config, LogFormat, LogLevel};
use clap::{Parser, Subcommand};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// One member of a Symbolon cluster: a custodian of fragments with its own PKCS#11 token.
///
/// A node never holds a value, a data key, or enough fragments to make one.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the node until SIGTERM
    ///
    /// Example: symbolon-node run --config /etc/symbolon/node.toml
    Run {
        /// Configuration file
        #[arg(long, env = "SYMBOLON_NODE_CONFIG")]
        config: PathBuf,
    },
    /// Check a configuration file and print what is in force
    CheckConfig {
        /// Configuration file
        #[arg(long, env = "SYMBOLON_NODE_CONFIG")]
        config: PathBuf,
    },
    /// Make this node's keys in its token, and write its public entry for `symbolon init`
    Prepare {
        /// Configuration file
        #[arg(long, env = "SYMBOLON_NODE_CONFIG")]
        config: PathBuf,
        /// Where the entry goes
        #[arg(long)]
        out: PathBuf,
    },
    /// Check a genesis roster and add this node's signature
    SignGenesis {
        /// Configuration file
        #[arg(long, env = "SYMBOLON_NODE_CONFIG")]
        config: PathBuf,
        /// The roster that `symbolon init` made
        roster: PathBuf,
    },
    /// Copy a stopped node's data
    Backup {
        /// Configuration file
        #[arg(long, env = "SYMBOLON_NODE_CONFIG")]
        config: PathBuf,
        /// An empty or new folder
        #[arg(long)]
        to: PathBuf,
    },
    /// Put a backup back as a stopped node's data
    Restore {
        /// Configuration file
        #[arg(long, env = "SYMBOLON_NODE_CONFIG")]
        config: PathBuf,
        /// A folder that `backup` made
        #[arg(long)]
        from: PathBuf,
    },
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// What still runs when the node has ended is given so long.
const ENDS_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

fn execute(command: Command) -> Result<(), Box<dyn std::error::Error>> {
    match command {
        Command::Run { config } => {
            let config = Config::read(&config)?;
            start_logs(&config);
            if config.development {
                tracing::warn!("DEVELOPMENT: memory is not locked, core dumps are possible, any token is accepted");
            } else {
                crate::lockdown::production().map_err(crate::run::RunError::from)?;
            }
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(config.threads)
                .enable_all()
                .build()
                .map_err(crate::run::RunError::Runtime)?;
            let ended = runtime.block_on(crate::run::run(config));
            // A call of a token that stalls may take half a minute, and nothing hangs on it any more.
            runtime.shutdown_timeout(ENDS_WITHIN);
            if !symbolon_store::all_closed(ENDS_WITHIN) {
                tracing::warn!("the store is still being closed; it recovers at the next start");
            }
            ended?;
        }
        Command::CheckConfig { config } => {
            tell(&Config::in_force(&config)?)?;
            let config = Config::read(&config)?;
            let roster = crate::run::roster(&config).ok();
            let elsewhere = roster.and_then(|roster| crate::run::looked_for_elsewhere(&config, &roster));
            for warning in config.missing().into_iter().chain(elsewhere) {
                eprintln!("warning: {warning}");
            }
        }
        Command::Prepare { config, out } => {
            crate::genesis::prepare(&Config::read(&config)?, &out)?;
            tell(&format!(
                "wrote {}; pass it to: symbolon init --node {}\n",
                out.display(),
                out.display()
            ))?;
        }
        Command::SignGenesis { config, roster } => {
            let config = Config::read(&config)?;
            crate::genesis::sign(&config, &roster)?;
            tell(&format!("node {} signed {}\n", config.node, roster.display()))?;
        }
        Command::Backup { config, to } => crate::backup::backup(&Config::read(&config)?, &to)?,
        Command::Restore { config, from } => crate::backup::restore(&Config::read(&config)?, &from)?,
    }
    Ok(())
}

/// Writes to stdout. Whoever closed the pipe has seen enough: that is no failure.
fn tell(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

fn start_logs(config: &Config) {
    let level = match config.log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // What openraft tells of each election attempt would drown what operators look for.
    let below = if level == LevelFilter::INFO {
        LevelFilter::WARN
    } else {
        level
    };
    let filter = Targets::new().with_default(level).with_target("openraft", below);
    let logs = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(LevelFilter::TRACE)
        .with_target(false);
    match config.log.format {
        LogFormat::Text => logs.finish().with(filter).init(),
        LogFormat::Json => logs.json().finish().with(filter).init(),
    }
}
