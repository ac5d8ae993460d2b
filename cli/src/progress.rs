//! A progress line on stderr for what takes longer than a second.

use std::future::Future;
use std::io::IsTerminal;
use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::colour;
use crate::limits::PROGRESS_AFTER;

/// Awaits `work`; if that takes long and stderr is a terminal, says what is being waited for.
pub(crate) async fn while_waiting<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    if !std::io::stderr().is_terminal() {
        return work.await;
    }
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(PROGRESS_AFTER) => {}
    }
    let bar = ProgressBar::new_spinner();
    let template = if colour(true) {
        "{spinner:.cyan} {msg} ({elapsed})"
    } else {
        "{spinner} {msg} ({elapsed})"
    };
    // A template that the library refuses costs only its looks.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    let done = work.await;
    bar.finish_and_clear();
    done
}
