//! Searches files, core dumps and process environments for secrets, in every form in which they commonly leak.
//!
//! A hit tells the place, the offset, the form and the needle's *name*; never its content. What could not be read is
//! reported and never passed over, since an unread file proves nothing.
//!
//! The automaton holds the needles in plain memory: run it in the process that knows them anyway.

mod forms;
mod scan;

pub use forms::{BadNeedle, Form, Needle, Needles};
pub use scan::{Hit, Place, Report, scan, scan_process, scan_reader};
