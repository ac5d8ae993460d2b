//! Instructions that processes execute, counted by `perf stat` where the processor and the kernel count them; virtual
//! machines often do not.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Child, Command, Stdio};

/// Whether instructions can be counted here, and if not, why.
pub(crate) fn supported() -> Result<(), &'static str> {
    let told = Command::new("perf")
        .args(["stat", "-x,", "-e", "instructions:u", "true"])
        .output();
    let Ok(told) = told else {
        return Err("`perf` is not installed (Debian: linux-perf)");
    };
    match parse(&String::from_utf8_lossy(&told.stderr)) {
        Some(_) => Ok(()),
        None => Err("`perf stat` counts no instructions on this machine"),
    }
}

/// A count under way.
pub(crate) struct Counter(Child);

impl Counter {
    /// Counts what these processes execute from now on; none if `perf` does not start.
    pub(crate) fn start(pids: &[u32]) -> Option<Self> {
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let perf = Command::new("perf")
            .args(["stat", "-x,", "-e", "instructions", "-p", &pids.join(",")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        perf.ok().map(Self)
    }

    /// Ends the count.
    pub(crate) fn stop(self) -> Option<u64> {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).ok()?);
        // As Ctrl-C does: it prints and ends.
        kill(pid, Signal::SIGINT).ok()?;
        let told = self.0.wait_with_output().ok()?;
        parse(&String::from_utf8_lossy(&told.stderr))
    }
}

/// `count,unit,event,…`; no number where the event is not counted.
fn parse(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(",instructions"))?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_and_its_absence_is_no_zero() {
        assert_eq!(parse("123456,,instructions:u,1001,100.00,,\n"), Some(123_456));
        assert_eq!(parse("<not supported>,,instructions:u,0,100.00,,\n"), None);
        assert_eq!(parse("perf: command not found"), None);
    }
}
