//! PINs: wiped on drop, never shown.

use std::fmt;

use cryptoki::types::AuthPin;
use zeroize::Zeroize;

/// The PIN of a token's user or security officer. How long it must be is the token's business.
pub struct Pin(AuthPin);

impl Pin {
    /// Takes over `pin`; the string is wiped.
    #[must_use]
    pub fn new(mut pin: String) -> Self {
        // An exact copy, because turning a string with spare capacity into a box may leave the original behind unwiped.
        let exact: Box<str> = Box::from(pin.as_str());
        pin.zeroize();
        Self(AuthPin::from(exact))
    }

    pub(crate) fn as_auth(&self) -> &AuthPin {
        &self.0
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_never_shown() {
        assert_eq!(format!("{:?}", Pin::new("271828".to_owned())), "Pin(..)");
    }
}
