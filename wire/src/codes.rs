//! The catalogue of error codes. A code is stable: it is never reused for another meaning. `docs/errors.md` lists them.

/// Exit codes of the command line (edge.md, "Command line").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the meaning")]
pub enum Exit {
    Ok = 0,
    Failure = 1,
    Usage = 2,
    LoginNeeded = 3,
    Denied = 4,
    ApprovalPending = 5,
    Unavailable = 6,
    NotFound = 7,
    Conflict = 8,
    VerificationFailed = 9,
    Timeout = 10,
    OutcomeUnknown = 11,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $exit:ident, $title:literal;)*) => {
        /// What went wrong, as a number that never changes its meaning. Shown as `SY0403`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Code { $($(#[$doc])* $name = $number,)* }

        impl Code {
            /// All of them, ascending.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The code for a number from the wire.
            pub fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// The exit code that the command line gives for it.
            pub fn exit(self) -> Exit {
                match self { $(Self::$name => Exit::$exit,)* }
            }

            /// One line for the catalogue.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The message does not parse, or a field has the wrong form.
    Malformed = 400, Usage, "malformed message or field";
    /// The connection's key belongs to no live principal.
    UnknownKey = 401, LoginNeeded, "the key is not registered, or its principal has expired or was removed";
    /// A path or name outside the grammar.
    BadPath = 402, Usage, "path or name outside the grammar";
    /// Policy says no, or nothing permits it.
    Denied = 403, Denied, "denied by policy";
    /// No such secret or version, or one that is hidden, destroyed or expired.
    NotFound = 404, NotFound, "no such secret or version";
    /// A value, message or set larger than its limit.
    TooLarge = 405, Usage, "larger than its limit";
    /// Made for another cluster.
    WrongCluster = 406, Usage, "made for another cluster";
    /// A protocol, suite or message version that this node does not know.
    UnknownVersion = 407, Failure, "unknown protocol, suite or message version";
    /// A deadline passed before an answer came.
    Timeout = 408, Timeout, "no answer in time";
    /// The object has moved on: version conflict.
    Conflict = 409, Conflict, "version conflict";
    /// The same nonce was used for other bytes.
    NonceReused = 410, Conflict, "the nonce was used for another command";
    /// The command's expiry has passed or lies too far ahead.
    Expired = 411, Failure, "the command's expiry has passed or lies too far ahead";
    /// A signature is missing, wrong, or by a key that may not sign this.
    BadSignature = 412, Denied, "signature missing, wrong, or by a key that may not sign this";
    /// Fewer operators signed than the roster asks for.
    TooFewSignatures = 413, Denied, "fewer operator signatures than the roster asks for";
    /// The epoch or roster has changed.
    EpochChanged = 414, Conflict, "epoch or roster has changed";
    /// The dealing has a wrong count, size or scalar.
    BadDealing = 415, Failure, "the dealing has a wrong count, size or scalar";
    /// The sealing session is unknown, expired, used up, or another's.
    BadSession = 416, Failure, "the sealing session is unknown, expired, used up, or another's";
    /// An id, name or key exists or has existed.
    Exists = 417, Conflict, "the id, name or key exists or has existed";
    /// The policies do not parse or validate.
    BadPolicy = 418, Usage, "the policies do not parse or validate";
    /// The secret takes only writes that state the version that they follow.
    CasRequired = 419, Usage, "the secret takes only writes that state the version they follow";
    /// A watch goes on from a position that the nodes do not reach back to.
    TooFarBehind = 420, Conflict, "the position lies further back than the nodes remember changes";
    /// This principal has too many live commands.
    TooManyCommands = 429, Failure, "too many live commands of this principal";
    /// A failure inside the node; its log says more.
    Internal = 500, Failure, "internal failure";
    /// The node is sealed: its token is absent or refuses.
    Sealed = 503, Unavailable, "the node is sealed";
    /// The node could not catch up with the log in time.
    NotFresh = 504, Unavailable, "the node could not catch up with the log in time";
    /// No leader, or too few nodes answer.
    NoQuorum = 505, Unavailable, "no leader, or too few nodes answer";
    /// The node's view of the log is contradicted; it has frozen itself.
    Frozen = 506, Unavailable, "the node's log is contradicted by others; it has frozen itself";
    /// The disk or the audit log is full or failing.
    DiskFull = 507, Unavailable, "the disk or the audit log is full or failing";
    /// The node's own fragment of this version does not check.
    NoValidFragment = 508, Unavailable, "the node holds no valid fragment of this version";
    /// Too much at once; try again.
    Overloaded = 509, Unavailable, "too much at once";
    /// The node's clock and log time differ too far to judge expiry.
    ClockApart = 510, Unavailable, "the node's clock and log time are too far apart";
    /// The node has booted and does not take part yet.
    Booting = 511, Unavailable, "the node has booted and does not take part yet";
    /// A newer boot of the same node counts; this process does not any more.
    Superseded = 512, Unavailable, "a newer boot of the same node counts instead of this one";
    /// The command may or may not have been committed.
    OutcomeUnknown = 520, OutcomeUnknown, "the outcome is unknown; the same bytes may be sent again";
    /// Cannot connect to any node.
    Unreachable = 521, Unavailable, "no node can be reached";
    /// A node's certificate, boot statement or roster does not verify.
    NotTheNode = 600, VerificationFailed, "a node could not prove who it is";
    /// A node returned a wrong fragment, body or signature.
    NodeAtFault = 601, VerificationFailed, "a node returned something wrong";
    /// The author dealt badly.
    AuthorAtFault = 602, VerificationFailed, "the author's dealing does not open";
    /// An audit log does not verify.
    AuditBroken = 603, VerificationFailed, "an audit log does not verify";
    /// Two nodes show different histories.
    Diverged = 604, VerificationFailed, "two nodes show different histories";
    /// A file or setting on this machine.
    Local = 700, Failure, "a file or setting on this machine";
    /// Command-line usage.
    Usage = 701, Usage, "command-line usage";
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SY{:04}", *self as u32)
    }
}
