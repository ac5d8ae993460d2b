//! Ids: 16 random bytes, drawn by whoever creates the object. Names are attributes and never enter a context.

use std::fmt;

/// The id has not 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has 16 bytes, this one has {bytes}")]
pub struct BadId {
    /// How many it had.
    pub bytes: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// The id from exactly 16 bytes.
            pub fn parse(bytes: &[u8]) -> Result<Self, BadId> {
                bytes.try_into().map(Self).map_err(|_| BadId { bytes: bytes.len() })
            }
            /// Its bytes.
            pub fn bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), hex::encode(self.0))
            }
        }
    };
}

id!(
    /// A cluster.
    ClusterId
);
id!(
    /// A tenant.
    TenantId
);
id!(
    /// A principal: an agent, workload, operator, gateway or node.
    PrincipalId
);
id!(
    /// A secret.
    SecretId
);

/// Who a principal is. The number is what the wire carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum PrincipalKind {
    /// A software agent.
    Agent = 1,
    /// Any other software.
    Workload = 2,
    /// A person who runs the cluster; stands in the roster.
    Operator = 3,
    /// A gateway.
    Gateway = 4,
    /// A cluster member; stands in the roster.
    Node = 5,
}

impl PrincipalKind {
    /// The kind for its number.
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Agent,
            2 => Self::Workload,
            3 => Self::Operator,
            4 => Self::Gateway,
            5 => Self::Node,
            _ => return None,
        })
    }

    /// The name that people and policies use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Workload => "workload",
            Self::Operator => "operator",
            Self::Gateway => "gateway",
            Self::Node => "node",
        }
    }
}
