//! The switchboard of seeded bugs and lies: each has a name, a site, the claim or invariant that it breaks, and the test
//! that finds it. A check that cannot fail proves nothing; here is shown that each can.
//!
//! Crates have this one in them only with their feature `sabotage`, and their sites are compiled only then. At run time at
//! most one bug is on: the one that `SYMBOLON_SABOTAGE` names, for processes, or the one that a caller hands in with
//! [`with`], for what runs on its own thread. The list is [`Bug::ALL`].
//!
//! Beside it stands the next build ([`next_build`]), which is no bug: the other side of a rolling upgrade.
#![forbid(unsafe_code)]

mod bugs;
mod caught;
mod next;
mod switch;

pub use bugs::{Bug, Caught};
pub use caught::caught_in;
pub use next::{NEXT_BUILD_VARIABLE, as_build, next_build};
pub use switch::{Unknown, VARIABLE, chosen, victim, with};
